//! Extended attributes of things that are open: the calls of the kernel for them, nothing more. Which of them are kept is
//! decided in `archives`.

use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most things have none, or a few short names.
const FEW: usize = 256;
/// The kernel has no list and no value that is longer.
const LONGEST: usize = 64 << 10;

/// The names of all that we may see; none where the file system has no attributes.
pub fn names(of: BorrowedFd<'_>) -> nix::Result<Vec<CString>> {
    let list = |buffer: &mut [u8]| {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        length(unsafe { libc::flistxattr(of.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
    };
    let mut few = [0; FEW];
    let bytes = match list(&mut few) {
        Ok(length) => few.get(..length).unwrap_or_default().to_vec(),
        Err(Errno::ERANGE) => filled(list)?,
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// `None`: it is not there any more.
pub fn get(of: BorrowedFd<'_>, name: &CStr) -> nix::Result<Option<Vec<u8>>> {
    let read = |buffer: &mut [u8]| {
        let (fd, room) = (of.as_raw_fd(), buffer.len());
        // SAFETY: the name ends with a zero; the kernel writes at most as many bytes as the buffer has.
        length(unsafe { libc::fgetxattr(fd, name.as_ptr(), buffer.as_mut_ptr().cast(), room) })
    };
    match filled(read) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn set(of: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> nix::Result<()> {
    // SAFETY: the name ends with a zero; the kernel reads as many bytes as the value has.
    let done = unsafe { libc::fsetxattr(of.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(done).map(drop)
}

/// What is not there is removed already.
pub fn remove(of: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    // SAFETY: the name ends with a zero.
    match Errno::result(unsafe { libc::fremovexattr(of.as_raw_fd(), name.as_ptr()) }) {
        Ok(_) | Err(Errno::ENODATA) => Ok(()),
        Err(error) => Err(error),
    }
}

fn filled(read: impl Fn(&mut [u8]) -> nix::Result<usize>) -> nix::Result<Vec<u8>> {
    let mut buffer = vec![0; LONGEST];
    let length = read(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn length(returned: isize) -> nix::Result<usize> {
    Errno::result(returned).map(|length| length.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_set_is_there_until_it_is_removed() {
        let file = tempfile::tempfile().unwrap();
        let (of, name) = (file.as_fd(), c"user.note");
        assert_eq!((names(of).unwrap(), get(of, name).unwrap()), (Vec::new(), None));
        set(of, name, b"a\0b").unwrap();
        assert_eq!(names(of).unwrap(), [name.to_owned()]);
        assert_eq!(get(of, name).unwrap().as_deref(), Some(&b"a\0b"[..]));
        let many: Vec<CString> = (0..20).map(|at| CString::new(format!("user.a-long-name-{at:02}")).unwrap()).collect();
        many.iter().for_each(|name| set(of, name, b"").unwrap());
        assert_eq!(names(of).unwrap().len(), 21, "more than fit into the first buffer");
        remove(of, name).unwrap();
        remove(of, name).unwrap();
        assert_eq!(get(of, name).unwrap(), None);
    }
}
