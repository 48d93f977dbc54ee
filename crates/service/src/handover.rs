//! Two instances on one port, and the older one leaves.
//!
//! The kernel spreads new connections over the sockets that share a port, and puts each into the
//! queue of one of them. Closing a socket resets what is in its queue: a client is told that its
//! connection broke, though the other instance would have served it. So the one that leaves first
//! sees to it that nothing new is queued for it, then empties its queue, then closes.

use std::io;

use tokio::net::TcpListener;

/// New connections go to the socket that joined the port second. Where there is no second one, or
/// the port is not shared, nothing changes: the kernel then chooses as it did before. When the
/// first socket is closed the second becomes the first, and is chosen again.
pub(crate) fn to_the_other(listener: &TcpListener) {
    if let Err(error) = choose(listener, 1) {
        tracing::debug!(%error, "the port is not shared");
    }
}

/// Only Linux needs it to be told.
#[cfg(not(target_os = "linux"))]
fn choose(_: &TcpListener, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets a program of one instruction choose: "return so many".
#[cfg(target_os = "linux")]
fn choose(listener: &TcpListener, socket: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use nix::libc;

    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: socket,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    #[expect(unsafe_code, reason = "no library has this option")]
    // SAFETY: the kernel copies the program, which outlives the call, and keeps no pointer; the
    // size is that of what is pointed to; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
