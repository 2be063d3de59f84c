//! What to do about what a set-up or a server says when it fails, where that is known.
//!
//! It reads words that others wrote for people, so it can only add to them: where nothing is known, they stand alone.

/// Words, in lower case, and what to do when they are said.
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
    ("no space left on device", "the disk is full: --environments names another folder"),
    (
        "address already in use",
        "another program has the port that it wants: end that one, or let the peer take {port}, which is free",
    ),
];

const VENV: &str = "python3 cannot make an environment: install its venv (Debian, Ubuntu: apt install python3-venv)";

const NETWORK: &str = "packages cannot be fetched: this needs a network once, or an index that is within reach \
                       (PIP_INDEX_URL, PIP_FIND_LINKS)";

/// What to do about `text`.
pub fn on(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    KNOWN.iter().find(|(words, _)| text.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_has_advice() {
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
            ("OSError: [Errno 98] Address already in use", "has the port"),
        ];
        for (text, advice) in cases {
            assert!(on(text).is_some_and(|known| known.contains(advice)), "{text}");
        }
        assert_eq!(on("Segmentation fault"), None);
    }
}
