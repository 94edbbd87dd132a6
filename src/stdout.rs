//! Standard output, which may end before what is printed does.

use std::io::{self, ErrorKind, Write};

/// Standard output. Who closes its pipe, as `head` does, wants no more lines, but still the
/// work and the verdict in the exit code: what is written after that is dropped. A disk that
/// is full stays an error, even if who writes does not look.
#[derive(Debug)]
pub struct Stdout<W = io::Stdout> {
    // Not locked: pictures are told of by the thread that draws them.
    inner: W,
    is_closed: bool,
    failed: Option<io::Error>,
}

impl Default for Stdout {
    fn default() -> Stdout {
        Stdout::over(io::stdout())
    }
}

impl<W: Write> Stdout<W> {
    fn over(inner: W) -> Stdout<W> {
        Stdout { inner, is_closed: false, failed: None }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The first one of all that was written, but for a closed pipe.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.failed.map_or(Ok(()), Err)
    }

    fn keep<T>(&mut self, result: io::Result<T>, dropped: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(dropped)
            }
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                let again = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                self.failed.get_or_insert(again);
                Err(error)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.keep(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.keep(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is_not_forgotten() {
        let mut closed = Stdout::over(Failing(ErrorKind::BrokenPipe));
        writeln!(closed, "one").expect("dropped");
        writeln!(closed, "two").expect("dropped");
        closed.finish().expect("no error");
        let mut full = Stdout::over(Failing(ErrorKind::StorageFull));
        let _ = writeln!(full, "one");
        assert_eq!(full.finish().expect_err("full").kind(), ErrorKind::StorageFull);
    }
}
