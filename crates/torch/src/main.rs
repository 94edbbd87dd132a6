//! The worker: answers what `actviz` asks on the socket that stands in place of standard
//! input. It is of no use in a terminal.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

fn main() {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("actviz-torch is started by actviz, which is what people type: actviz --help");
        actviz_torch::leave(2);
    }
    let socket = stdin.as_fd().try_clone_to_owned().map(UnixStream::from);
    match socket.and_then(actviz_torch::serve) {
        Ok(()) => actviz_torch::leave(0),
        Err(error) => {
            eprintln!("{error}");
            actviz_torch::leave(1)
        }
    }
}
