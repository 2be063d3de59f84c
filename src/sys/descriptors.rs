//! Limit of open files of this process, which its children inherit.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, usually 1024, to the hard one.
pub fn raise() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Raises the soft limit to `need` if it is lower. Returns the hard limit if that is lower, too. A
/// limit that cannot be read or set is left to the calls that meet it.
pub fn raise_to(need: u64) -> Result<(), u64> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if hard < need {
        return Err(hard);
    }
    if soft < need {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, need, hard);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_above_the_hard_limit_is_an_error() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_to(0), Ok(()));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((soft, hard)), "never lowered");
        if hard < u64::MAX {
            assert_eq!(raise_to(hard + 1), Err(hard));
        }
    }
}
