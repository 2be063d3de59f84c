//! Known causes of a failed set-up or server start, with advice for the user.
//!
//! The advice is added to text that other programs write, and never replaces it.

/// Fragments of messages, in lower case, with the advice for each.
const KNOWN: &[(&str, &str)] = &[
    ("ensurepip", VENV),
    ("no module named venv", VENV),
    (
        "no module named pip",
        "python3 has no pip: install it (Debian, Ubuntu: apt install python3-pip python3-venv)",
    ),
    ("name resolution", NETWORK),
    ("failed to resolve", NETWORK),
    ("network is unreachable", NETWORK),
    ("failed to establish a new connection", NETWORK),
    ("no matching distribution found", NETWORK),
    ("no space left on device", "the disk is full: choose another folder with --environments"),
    (
        "address already in use",
        "another program uses the port of this server: stop that program, or use {port} in the \
         manifest's start.command, which is a free port",
    ),
];

const VENV: &str = "python3 cannot create a virtual environment: install its venv module \
                    (Debian, Ubuntu: apt install python3-venv)";

const NETWORK: &str = "packages cannot be downloaded: the first run needs a network or a package \
                       index that can be reached (PIP_INDEX_URL, PIP_FIND_LINKS)";

pub fn find(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    KNOWN.iter().find(|(words, _)| text.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_causes_have_advice() {
        let cases = [
            (
                "The virtual environment was not created successfully because ensurepip is not\navailable.",
                "python3-venv",
            ),
            ("/usr/bin/python3: No module named pip", "python3-pip"),
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError(Failed to establish a new \
                 connection: [Errno 111] Connection refused)'",
                "network",
            ),
            ("[Errno -3] Temporary failure in name resolution", "network"),
            ("ERROR: No matching distribution found for grpcio==1.85.1", "network"),
            ("OSError: [Errno 98] Address already in use", "uses the port"),
        ];
        for (text, advice) in cases {
            assert!(find(text).is_some_and(|known| known.contains(advice)), "{text}");
        }
        assert_eq!(find("Segmentation fault"), None);
    }
}
