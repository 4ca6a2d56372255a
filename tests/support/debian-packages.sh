# shellcheck shell=bash
# Packages of any Debian suite, downloaded and unpacked, and not installed. Sourced, never run. The caller has
# a function `die WORDS`, which ends it.

# The mirror that this machine uses for Debian, so that a local one is honoured.
mirror() {
	local site
	# shellcheck disable=SC2016 # apt-get expands it
	site=$(apt-get indextargets --format '$(SITE)' 'Identifier: Packages' 2>/dev/null |
		grep -E '/debian/?$' | head -n 1 || true)
	echo "${site:-http://deb.debian.org/debian}"
}

# fetch_packages DIR SUITE PACKAGE...: makes DIR anew with what is in them. apt's state is kept private, so
# that the system's own package lists stay as they are.
fetch_packages() {
	local new=$1 suite=$2
	shift 2
	command -v apt-get >/dev/null || die "apt-get is needed: $* of the suite $suite are Debian's packages"
	command -v dpkg-deb >/dev/null || die "dpkg-deb is needed (package dpkg)"
	rm -rf "$new"
	mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial"
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e "$keyring" ] || die "$keyring is missing: apt-get install debian-archive-keyring"
	echo "deb [signed-by=$keyring] $(mirror) $suite main" >"$new/apt/sources.list"
	: >"$new/apt/status"
	local apt=(apt-get -qq
		-o "Dir::Etc::SourceList=$new/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$new/apt/lists" -o "Dir::State::status=$new/apt/status"
		-o "Dir::Cache=$new/apt/cache" -o APT::Sandbox::User=root
		-o Acquire::Languages=none -o Acquire::Retries=3)
	"${apt[@]}" update || die "cannot read the package lists of the suite $suite from $(mirror)"
	(cd "$new" && "${apt[@]}" download "$@") || die "cannot download $* of the suite $suite"
	local deb
	for deb in "$new"/*.deb; do
		dpkg-deb -x "$deb" "$new"
		rm "$deb"
	done
	rm -rf "$new/apt"
}
