//! Names of images: the reference grammar, and the normal form that containerd keeps.
