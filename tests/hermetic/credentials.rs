//! Docker's `config.json`: which login an image gets, what is said of a file that is wrong, and that
//! no secret is ever said.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};
use stowd::credentials::{CREDENTIALS_MAX, Credentials, CredentialsError, Login};
use stowd::naming::Reference;

fn image(text: &str) -> Reference {
    Reference::parse(text).unwrap().canonical()
}

fn read(file: &Value) -> Credentials {
    Credentials::parse(file.to_string().as_bytes()).unwrap()
}

fn refused(file: &Value) -> String {
    let error = Credentials::parse(file.to_string().as_bytes()).unwrap_err();
    error.to_string()
}

fn password(username: &str, password: &str) -> Login {
    Login::Password {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// An entry whose user tells which entry it is.
fn named(user: &str) -> Value {
    json!({"auth": STANDARD.encode(format!("{user}:p"))})
}

/// The user of the login for an image; `-` for none.
fn user(credentials: &Credentials, text: &str) -> String {
    match credentials.login_for(&image(text)) {
        None => "-".to_owned(),
        Some(Login::Password { username, .. }) => username.clone(),
        Some(other) => panic!("{text}: {other:?}"),
    }
}

fn gaps(credentials: &Credentials) -> Vec<String> {
    credentials.gaps().iter().map(ToString::to_string).collect()
}

#[test]
fn every_kind_of_login_is_read() {
    let encoded = |text: &str| json!({"auth": STANDARD.encode(text)});
    for (entry, login) in [
        (encoded("user:pass"), password("user", "pass")),
        (encoded("user:p:a:s:s"), password("user", "p:a:s:s")),
        (encoded("user:"), password("user", "")),
        (encoded("größe:ß"), password("größe", "ß")),
        (encoded("user:pass\n"), password("user", "pass")),
        (encoded("user:pass\r\n"), password("user", "pass")),
        (encoded("user:pass\0\0"), password("user", "pass")),
        (encoded("user: pass "), password("user", " pass ")),
        (
            json!({"auth": STANDARD_NO_PAD.encode("user:pass1")}),
            password("user", "pass1"),
        ),
        (
            json!({"auth": format!(" dXNl\r\n{}\n", &STANDARD.encode("user:pass")[4..])}),
            password("user", "pass"),
        ),
        (
            // The last letter has bits that are no part of a byte.
            json!({"auth": "dTpwYXNzd29yZB=="}),
            password("u", "password"),
        ),
        (
            json!({"username": "user", "password": "pass", "email": "a@b"}),
            password("user", "pass"),
        ),
        (
            json!({"username": "token", "password": ""}),
            password("token", ""),
        ),
        (
            json!({"Username": "user", "PASSWORD": "pass"}),
            password("user", "pass"),
        ),
        (
            json!({"auth": STANDARD.encode("a:b"), "username": "c", "password": "d"}),
            password("a", "b"),
        ),
        (
            json!({"auth": "", "username": "c", "password": "d"}),
            password("c", "d"),
        ),
        (
            json!({"auth": null, "username": "c", "password": "d"}),
            password("c", "d"),
        ),
        (
            json!({"auth": STANDARD.encode("0000-00:"), "identitytoken": "refresh"}),
            Login::IdentityToken("refresh".to_owned()),
        ),
        (
            json!({"username": "c", "password": "d", "identitytoken": "refresh"}),
            Login::IdentityToken("refresh".to_owned()),
        ),
        (
            json!({"registrytoken": "bearer"}),
            Login::RegistryToken("bearer".to_owned()),
        ),
        (
            json!({"username": "c", "password": "d", "registrytoken": "bearer"}),
            password("c", "d"),
        ),
    ] {
        let credentials = read(&json!({"auths": {"r.example": entry}}));
        let found = credentials.login_for(&image("r.example/app:1"));
        assert!(found == Some(&login), "{entry}");
        assert_eq!(credentials.login_for(&image("app:1")), None);
    }
}

#[test]
fn the_nearest_key_wins() {
    let credentials = read(&json!({"auths": {
        "r.example": named("registry"),
        "https://r.example/v2/team": named("team"),
        "r.example/team/sub/app": named("app"),
        "r.example/other": {},
        "*.example": named("star"),
        "*.example/team/sub/app/deep": named("deep-star"),
        "r.example:5000": named("port"),
        "localhost:5000": named("localhost"),
    }}));
    for (text, expected) in [
        ("r.example/app", "registry"),
        ("r.example/teams/app", "registry"),
        ("r.example/team", "team"),
        ("r.example/team/app:1", "team"),
        ("r.example/team/sub/app", "app"),
        ("r.example/team/sub/app/deep", "app"),
        ("r.example/team/sub/application", "team"),
        ("r.example/other/app", "registry"),
        ("other.example/app", "star"),
        ("other.example/team/sub/app/deep", "deep-star"),
        ("a.other.example/app", "-"),
        ("r.example:5000/team/app", "port"),
        ("r.example:5001/app", "-"),
        ("localhost:5000/app", "localhost"),
        ("localhost/app", "-"),
        ("alpine", "-"),
        ("quay.io/r.example/app", "-"),
    ] {
        assert_eq!(user(&credentials, text), expected, "{text}");
    }
}

#[test]
fn docker_hub_is_found_under_each_of_its_names() {
    for key in [
        "https://index.docker.io/v1/",
        "index.docker.io",
        "docker.io",
        "registry-1.docker.io",
    ] {
        let credentials = read(&json!({"auths": {key: named("hub")}}));
        for text in ["alpine", "docker.io/library/alpine:3", "grafana/grafana"] {
            assert_eq!(user(&credentials, text), "hub", "{key} {text}");
        }
        assert_eq!(user(&credentials, "r.example/library/alpine"), "-");
    }
}

#[test]
fn of_two_keys_for_one_registry_docker_s_own_wins() {
    let hub = read(&json!({"auths": {
        "docker.io": named("plain"),
        "https://index.docker.io/v1/": named("usual"),
        "index.docker.io": named("index"),
    }}));
    assert_eq!(user(&hub, "alpine"), "usual");
    let other = read(&json!({"auths": {
        "https://r.example/v1/": named("url"),
        "r.example": named("plain"),
        "http://r.example": named("http"),
    }}));
    assert_eq!(user(&other, "r.example/app"), "plain");
}

#[test]
fn what_has_no_logins_is_fine() {
    let files: [&[u8]; 6] = [
        b"",
        b" \n",
        b"\xef\xbb\xbf{}",
        b"{\"auths\": {}}",
        b"{\"auths\": null, \"credsStore\": \"\", \"credHelpers\": {\"r.example\": null, \"s.example\": \"\"}}",
        b"{\"psFormat\": \"table\", \"HttpHeaders\": {\"X\": \"y\"}, \"currentContext\": \"x\"}",
    ];
    for file in files {
        let credentials = Credentials::parse(file).unwrap();
        assert_eq!(credentials, Credentials::default());
        assert_eq!(credentials.gap_for(&image("r.example/app")), None);
    }
}

#[test]
fn helpers_are_named_where_they_alone_have_the_login() {
    let credentials = read(&json!({
        "auths": {
            "https://index.docker.io/v1/": {},
            "inline.example": named("inline"),
            "ecr.example": {},
            "both.example": {},
            "https://both.example/v1/": named("both"),
        },
        "credsStore": "desktop",
        "credHelpers": {"ecr.example": "ecr-login", "inline.example": "unused", "gcr.io": "gcloud"},
    }));
    let kept = |registry, helper| {
        format!(
            "the login for \"{registry}\" is kept by docker-credential-{helper}, and stowd runs no \
             credential helpers; put it into \"auths\""
        )
    };
    assert_eq!(
        gaps(&credentials),
        [
            kept("ecr.example", "ecr-login"),
            kept("gcr.io", "gcloud"),
            kept("https://index.docker.io/v1/", "desktop"),
        ]
    );
    let said = |text| credentials.gap_for(&image(text)).map(ToString::to_string);
    assert_eq!(said("gcr.io/app"), Some(kept("gcr.io", "gcloud")));
    assert_eq!(
        said("alpine"),
        Some(kept("https://index.docker.io/v1/", "desktop"))
    );
    assert_eq!(said("inline.example/app"), None);
    assert_eq!(said("unknown.example/app"), None);
    assert_eq!(user(&credentials, "inline.example/app"), "inline");
    assert_eq!(user(&credentials, "both.example/app"), "both");
    assert_eq!(user(&credentials, "ecr.example/app"), "-");

    let credentials = read(&json!({"credsStore": "desktop"}));
    let all = "the logins are kept by docker-credential-desktop, and stowd runs no credential \
               helpers; put them into \"auths\"";
    assert_eq!(gaps(&credentials), [all]);
    let gap = credentials.gap_for(&image("r.example/app")).unwrap();
    assert_eq!(gap.to_string(), all);
}

#[test]
fn entries_that_bring_nothing_are_named() {
    let credentials = read(&json!({
        "auths": {
            "empty.example": {},
            "null.example": null,
            "hollow.example": {"auth": "", "email": "a@b"},
            "oci://r.example": named("x"),
            "registry": named("x"),
            "r.example/app:1": {},
            "token.example": {"registrytoken": "bearer"},
        },
        "credHelpers": {"no host": "x"},
    }));
    let no_registry = |key| {
        format!(
            "\"{key}\" names no registry that an image could be in; write host[:port][/path], and \
             give a host without a dot its port"
        )
    };
    let nothing = |key| format!("the entry for \"{key}\" has no login in it");
    assert_eq!(
        gaps(&credentials),
        [
            no_registry("oci://r.example"),
            no_registry("r.example/app:1"),
            no_registry("registry"),
            "the entry for \"token.example\" has nothing but a \"registrytoken\", which containerd \
             takes no notice of; give a user and a password"
                .to_owned(),
            no_registry("no host"),
            nothing("empty.example"),
            nothing("hollow.example"),
            nothing("null.example"),
        ]
    );
}

#[test]
fn what_is_wrong_is_said_without_the_value() {
    let auth = |entry: Value| json!({"auths": {"https://r.example/v1/": entry}});
    let printf = "write the output of: printf %s 'user:password' | base64 -w0";
    for (file, expected) in [
        (
            json!([1]),
            "the file is a list; expected an object such as {\"auths\": {\"registry.example\": \
             {\"auth\": \"...\"}}}"
                .to_owned(),
        ),
        (
            json!({"auths": "SECRET"}),
            "\"auths\" is a string; expected an object with a key for each registry".to_owned(),
        ),
        (
            json!({"auths": {"auth": "SECRET"}}),
            "\"auth\" in \"auths\" is a string; expected an object such as {\"auth\": \"...\"}"
                .to_owned(),
        ),
        (
            auth(json!({"auth": 7_777_777})),
            "\"auth\" of \"https://r.example/v1/\" is a number; expected a string".to_owned(),
        ),
        (
            auth(json!({"username": "SECRET", "password": ["SECRET"]})),
            "\"password\" of \"https://r.example/v1/\" is a list; expected a string".to_owned(),
        ),
        (
            auth(json!({"identitytoken": true})),
            "\"identitytoken\" of \"https://r.example/v1/\" is true or false; expected a string"
                .to_owned(),
        ),
        (
            auth(json!({"auth": "SECRET!"})),
            format!("\"auth\" of \"https://r.example/v1/\" is not base64; {printf}"),
        ),
        (
            auth(json!({"auth": "user:password"})),
            format!("\"auth\" of \"https://r.example/v1/\" is not base64; {printf}"),
        ),
        (
            auth(json!({"auth": STANDARD.encode("SECRET")})),
            format!(
                "\"auth\" of \"https://r.example/v1/\" is not base64 of user:password; {printf}"
            ),
        ),
        (
            auth(json!({"auth": STANDARD.encode(":SECRET")})),
            format!(
                "\"auth\" of \"https://r.example/v1/\" is not base64 of user:password; {printf}"
            ),
        ),
        (
            auth(json!({"auth": STANDARD.encode(b"SECRET:\xff")})),
            "\"auth\" of \"https://r.example/v1/\" is base64 of something that is not text in UTF-8"
                .to_owned(),
        ),
        (
            auth(json!({"username": "SECRET"})),
            "the entry for \"https://r.example/v1/\" has a \"username\" and no \"password\""
                .to_owned(),
        ),
        (
            auth(json!({"password": "SECRET"})),
            "the entry for \"https://r.example/v1/\" has a \"password\" and no \"username\""
                .to_owned(),
        ),
        (
            json!({"credsStore": {"SECRET": "SECRET"}}),
            "\"credsStore\" is an object; expected the name of a helper".to_owned(),
        ),
        (
            json!({"credHelpers": ["SECRET"]}),
            "\"credHelpers\" is a list; expected an object with the name of a helper for each \
             registry"
                .to_owned(),
        ),
        (
            json!({"credHelpers": {"r.example": {"auth": "SECRET"}}}),
            "\"r.example\" in \"credHelpers\" is an object; expected the name of a helper, a string"
                .to_owned(),
        ),
        (
            json!({"https://index.docker.io/v1/": {"auth": "SECRET"}}),
            "this is the older .dockercfg, which has no \"auths\"; write {\"auths\": …} around all \
             of it"
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(&file), expected);
    }
}

#[test]
fn what_is_no_json_is_placed() {
    for (file, expected) in [
        (
            b"{\"auths\":\n  SECRET}".as_slice(),
            "line 2, column 3: this is not JSON in UTF-8",
        ),
        (
            b"{\"auths\": {\"r.example\": {\"auth\": \"SECRET",
            "line 1, column 40: the JSON ends here and is not whole; was the file cut?",
        ),
        (
            b"auths:\n  r.example: SECRET\n",
            "line 1, column 1: this is not JSON in UTF-8",
        ),
        (b"{} SECRET", "line 1, column 4: this is not JSON in UTF-8"),
        (
            b"\xff\xfe{\0}\0",
            "line 1, column 1: this is not JSON in UTF-8",
        ),
    ] {
        assert_eq!(Credentials::parse(file).unwrap_err().to_string(), expected);
    }
    let deep = "{\"auths\":".repeat(100_000);
    let error = Credentials::parse(deep.as_bytes()).unwrap_err();
    assert!(
        matches!(error, CredentialsError::NotJson { line: 1, .. }),
        "{error}"
    );
}

#[test]
fn the_limit_of_a_file_is_exact() {
    let mut file = json!({"auths": {"r.example": named("last")}})
        .to_string()
        .into_bytes();
    file.resize(CREDENTIALS_MAX as usize, b' ');
    assert_eq!(
        user(&Credentials::parse(&file).unwrap(), "r.example/app"),
        "last"
    );
    file.push(b' ');
    assert_eq!(Credentials::parse(&file), Err(CredentialsError::TooLong));
}

#[test]
fn a_hostile_key_stays_on_its_line() {
    let long = format!("x\n\u{1b}[2J\"{}", "y".repeat(1 << 16));
    for file in [
        json!({"auths": {&long: 1}}),
        json!({"auths": {&long: {"auth": "!"}}}),
        json!({"auths": {&long: {"username": "x"}}}),
        json!({"credHelpers": {&long: 1}}),
    ] {
        let said = refused(&file);
        assert!(
            !said.contains(char::is_control) && said.len() < 400,
            "{said}"
        );
    }
    let credentials = read(&json!({"auths": {&long: {}}, "credHelpers": {"r.example": &long}}));
    let said = gaps(&credentials);
    assert_eq!(said.len(), 2);
    for said in said {
        assert!(
            !said.contains(char::is_control) && said.len() < 400,
            "{said}"
        );
    }
}

/// Everything that can be shown of a file, whatever came of it.
fn shown(file: &[u8]) -> String {
    match Credentials::parse(file) {
        Ok(credentials) => {
            let images = ["r.example/app", "alpine", "s.example/app"].map(image);
            let logins = images.each_ref().map(|image| credentials.login_for(image));
            let gaps = gaps(&credentials);
            format!("{credentials:?} {credentials:#?} {logins:?} {logins:#?} {gaps:?}")
        }
        Err(error) => format!("{error:?} {error:#?} {error}"),
    }
}

/// A file is cut at every byte, and every byte of it is replaced by every other that means something
/// in JSON or base64: read or refused, it never shows what is secret.
#[test]
fn no_secret_is_shown_of_any_file() {
    // Without a run of letters that the words of an error, or of a key, could have.
    let secret = "Zq9ZqXj7Xj";
    let file = json!({
        "auths": {
            "r.example": {"auth": STANDARD.encode(format!("{secret}:{secret}"))},
            "https://index.docker.io/v1/": {"username": secret, "password": secret},
            "s.example": {"identitytoken": secret, "registrytoken": secret},
            "t.example": {"registrytoken": secret},
            "email.example": {"email": secret},
        },
        "HttpHeaders": {"Authorization": secret},
        "credHelpers": {"w.example": "helper"},
    });
    let file = file.to_string().into_bytes();
    let encoded = STANDARD.encode(format!("{secret}:{secret}"));
    let marks = [
        &secret[..4],
        &secret[3..8],
        &secret[6..],
        &encoded[..8],
        &encoded[8..16],
        "WnE5",
    ];
    let check = |file: &[u8]| {
        let said = shown(file);
        for mark in marks {
            let file = String::from_utf8_lossy(file);
            assert!(!said.contains(mark), "{mark}\n{file}\n{said}");
        }
        said
    };
    let said = check(&file);
    for part in [
        "Password(..)",
        "IdentityToken(..)",
        "RegistryToken(..)",
        "email.example",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let with_users = json!({"auths": {
        format!("https://{secret}:{secret}@u.example/"): {"username": secret},
        format!("https://{secret}/{secret}@v.example:x/"): {},
    }});
    check(with_users.to_string().as_bytes());
    let with_users = with_users.to_string().replace("username", "email");
    assert!(check(with_users.as_bytes()).contains("v.example:x"));
    for cut in 0..file.len() {
        check(&file[..cut]);
    }
    let mut changed = file.clone();
    for at in 0..file.len() {
        for byte in *b"\"\\{}[],:0a=@\n\x00\xff " {
            changed[at] = byte;
            check(&changed);
        }
        changed[at] = file[at];
    }
    // Of the wrong kind, in every place.
    for wrong in [
        json!(secret),
        json!([secret]),
        json!({secret: secret}),
        json!([{"auth": secret}]),
    ] {
        for file in [
            wrong.clone(),
            json!({"auths": wrong}),
            json!({"auths": {"r.example": wrong}}),
            json!({"auths": {"r.example": {"auth": wrong}}}),
            json!({"auths": {"r.example": {"username": wrong, "password": secret}}}),
            json!({"auths": {"r.example": {"username": secret, "password": wrong}}}),
            json!({"auths": {"r.example": {"identitytoken": wrong}}}),
            json!({"auths": {"r.example": {"registrytoken": wrong}}}),
            json!({"credHelpers": {"r.example": {"auth": wrong}}}),
            json!({"r.example": {"auth": wrong}}),
        ] {
            // A string that is where a registry's name or a helper's belongs is shown as one.
            if file != json!({"auths": {secret: secret}}) {
                check(file.to_string().as_bytes());
            }
        }
    }
}

#[test]
fn a_message_repeats_neither_the_user_nor_the_password_nor_both() {
    let token = "dckr_pat_4b1jkQz";
    let both = STANDARD.encode(format!("{token}:hunter2"));
    let said =
        format!("401 for https://{token}:hunter2@r.example/v2/: Basic {both} (user={token})");
    assert_eq!(
        password(token, "hunter2").kept_out_of(&said),
        "401 for https://…:…@r.example/v2/: Basic … (user=…)"
    );
    // A password that is a part of the user leaves nothing of the user behind, and the other way round.
    for (user, word) in [
        ("abc-secret-token", "secret"),
        ("secret-token", "abc-secret-token-xyz"),
    ] {
        let said = format!("denied: {user} with {word}");
        assert_eq!(password(user, word).kept_out_of(&said), "denied: … with …");
    }
    // The user of a token in the password's place is often empty of meaning.
    for (user, said, shown) in [
        (
            "a",
            "an answer for a: \"a\" has no access to a/b",
            "an answer for …: \"…\" has no access to …/b",
        ),
        (
            "bot",
            "bottle: robot and bots are no bot",
            "bottle: robot and bots are no …",
        ),
        ("x", "", ""),
    ] {
        assert_eq!(password(user, "hunter2").kept_out_of(said), shown);
    }
    assert_eq!(
        password("someone", "").kept_out_of("no secret"),
        "no secret"
    );
}
