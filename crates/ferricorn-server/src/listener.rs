//! Listening sockets: TCP over IPv4 and IPv6, unix sockets, inherited descriptors. It does not know HTTP.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use asgi::Address;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, SockRef, Type};

use crate::socket::Socket;

/// Where to listen, as people write it: `HOST:PORT`, `[V6]:PORT`, `unix:PATH`, `fd://N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A host name or address, and a port; 0 picks a free one.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A descriptor that was inherited and listens or can be told to.
    Descriptor(RawFd),
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("cannot bind to \"{text}\": expected HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N");
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return number.parse().ok().filter(|fd| *fd >= 0).map(Self::Descriptor).ok_or_else(wrong);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(wrong());
        }
        Ok(Self::Tcp(bare.unwrap_or(host).to_owned(), port.parse().map_err(|_| wrong())?))
    }
}

/// A bound, listening, non-blocking socket.
pub struct Listener {
    socket: ListeningSocket,
    address: Address,
    /// The file of a unix socket that this listener made and has to remove.
    made: Option<PathBuf>,
    /// Whether it is none of those that speak TLS.
    plain: bool,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds a TCP address or a unix path (which anyone may then connect to).
    ///
    /// # Errors
    /// Where it cannot be bound, and for a descriptor: [`Listener::from_fd`] takes one over.
    pub fn bind(bind: &Bind, backlog: i32) -> io::Result<Self> {
        match bind {
            Bind::Tcp(host, port) => Self::tcp(host, *port, backlog),
            Bind::Unix(path) => Self::unix(path, 0o666, backlog),
            Bind::Descriptor(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "descriptors are taken over, not bound"))
            }
        }
    }

    /// Binds a TCP socket. A name that resolves to several addresses binds the first that can be bound.
    ///
    /// # Errors
    /// Where the name cannot be resolved or no address bound.
    pub fn tcp(host: &str, port: u16, backlog: i32) -> io::Result<Self> {
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match Self::bind_tcp(address, backlog) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Self::from_fd(socket.into())
    }

    /// Binds a unix socket and gives its file `mode`. A file that a dead server left there is replaced; one that
    /// answers, or that is no socket, is an error.
    ///
    /// # Errors
    /// Where the path cannot be bound.
    pub fn unix(path: &Path, mode: u32, backlog: i32) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        let mut listener = Self::from_fd(socket.into())?;
        listener.made = Some(path.to_owned());
        Ok(listener)
    }

    /// Takes over a bound stream socket, and makes it listen where it does not.
    ///
    /// # Errors
    /// Where it is no stream socket of a family that can be served.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is no stream socket"));
        }
        if !socket.is_listener()? {
            socket.listen(DEFAULT_BACKLOG)?;
        }
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let (address, socket) = match local.as_socket() {
            Some(address) => (Address::Ip(address), ListeningSocket::Tcp(TcpListener::from_std(fd.into()))),
            None => (Address::Unix(unix_name(&local)), ListeningSocket::Unix(UnixListener::from_std(fd.into()))),
        };
        Ok(Self { socket, address, made: None, plain: false })
    }

    /// The address as bound, the real port filled in.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether dropping it removes the file of its unix socket: it was made here, or taken over from who made it.
    pub fn removes_file(&self) -> bool {
        self.made.is_some()
    }

    /// Says who removes the file of its unix socket. A TCP socket has none.
    pub fn set_removes_file(&mut self, removes: bool) {
        self.made = match &self.address {
            Address::Unix(path) if removes && !path.is_empty() => Some(path.into()),
            _ => None,
        };
    }

    /// Another handle of the same listening socket, which leaves the file of a unix socket alone.
    ///
    /// # Errors
    /// Where there is no descriptor left.
    pub fn duplicate(&self) -> io::Result<Self> {
        let fd = match &self.socket {
            ListeningSocket::Tcp(listener) => rustix::io::fcntl_dupfd_cloexec(listener, 0)?,
            ListeningSocket::Unix(listener) => rustix::io::fcntl_dupfd_cloexec(listener, 0)?,
        };
        let mut listener = Self::from_fd(fd)?;
        listener.plain = self.plain;
        Ok(listener)
    }

    /// Whether it speaks no TLS, although others of its worker do.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Says whether it speaks no TLS, although others of its worker do.
    pub fn set_plain(&mut self, plain: bool) {
        self.plain = plain;
    }

    /// Whether a connection waits to be accepted, as far as is known.
    pub(crate) fn has_waiting(&self) -> bool {
        let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        let polled = match &self.socket {
            ListeningSocket::Tcp(listener) => poll(&mut [PollFd::new(listener, PollFlags::IN)], now),
            ListeningSocket::Unix(listener) => poll(&mut [PollFd::new(listener, PollFlags::IN)], now),
        };
        polled.is_ok_and(|ready| ready > 0)
    }

    /// Takes one connection, with the peer's address and the one it connected to.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Option<Address>, Address)> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // Whole responses are written at once: waiting for more would only delay streamed ones.
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Socket::Tcp(stream), Some(Address::Ip(peer)), Address::Ip(local)))
            }
            ListeningSocket::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), None, self.address.clone()))
            }
        }
    }
}

/// The length of the queue of connections that wait to be accepted.
const DEFAULT_BACKLOG: i32 = 2048;

/// The path, or `@` and the name of a socket in Linux's abstract namespace, as systemd writes it.
fn unix_name(local: &SockAddr) -> String {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = local.as_abstract_namespace() {
        return format!("@{}", String::from_utf8_lossy(name));
    }
    local.as_pathname().unwrap_or(Path::new("")).to_string_lossy().into_owned()
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err() {
        return fs::remove_file(path);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = self.made.take() {
            let _ = fs::remove_file(path);
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(path) => write!(f, "unix:{path}"),
            address => address.fmt(f),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_raw_fd(),
            ListeningSocket::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        match &mut self.socket {
            ListeningSocket::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            ListeningSocket::Unix(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.deregister(registry)?;
        self.register(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.socket {
            ListeningSocket::Tcp(listener) => listener.deregister(registry),
            ListeningSocket::Unix(listener) => listener.deregister(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Bind::Tcp("127.0.0.1".into(), 80)));
        assert_eq!("[::1]:0".parse(), Ok(Bind::Tcp("::1".into(), 0)));
        assert_eq!("unix:/run/a.sock".parse(), Ok(Bind::Unix("/run/a.sock".into())));
        assert_eq!("fd://3".parse(), Ok(Bind::Descriptor(3)));
        for wrong in ["", "host", "host:port", "::1:80", "unix:", "fd://x", "fd://-1", "h:70000"] {
            assert!(wrong.parse::<Bind>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("ferricorn-listener-{}", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::unix(&path, 0o600, 8).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Listener::unix(&path, 0o600, 8).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
    }
}
