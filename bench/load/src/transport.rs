//! The bytes of a connection, through TLS or not. Nothing blocks but connecting.

use std::error::Error;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// rustls asks for 4 KiB at a time; the socket is asked for more.
const READ_AHEAD: usize = 64 * 1024;

/// What all connections have in common.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS 1.3 to `host`, whose certificate has to be this one. Every handshake is a full one.
    pub fn new(certificate: &Path, host: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name: ServerName::try_from(host.to_owned())? })
    }
}

pub enum Transport {
    Plain(TcpStream),
    Tls(Box<Secure>),
}

pub struct Secure {
    tls: ClientConnection,
    socket: BufReader<TcpStream>,
}

impl Transport {
    /// Takes over a connected socket.
    pub fn new(socket: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        let Some(Tls { config, name }) = tls else { return Ok(Self::Plain(socket)) };
        let tls = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Secure { tls, socket: BufReader::with_capacity(READ_AHEAD, socket) })))
    }

    /// Whether a read that does not fill the buffer has drained the socket (epoll(7)); otherwise only `WouldBlock` says so.
    pub fn short_read_drains(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// As that of a socket. 0 at the end, with `close_notify` or without.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(secure) => secure.read(buffer),
        }
    }

    /// As that of a socket. What TLS has taken goes out with this or a later call of any method.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(secure) => secure.write(bytes),
        }
    }

    /// Says farewell as TLS does, as far as the socket takes it.
    pub fn close(&mut self) {
        if let Self::Tls(secure) = self {
            secure.tls.send_close_notify();
            // The server may have gone already.
            let _ = secure.flush();
        }
    }
}

impl Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            self.flush()?;
            self.tls.read_tls(&mut self.socket)?;
            self.tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Takes as much as is buffered at once; before the handshake is done too, to be sent after it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.tls.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(self.socket.get_mut()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                done => done?,
            };
        }
        Ok(())
    }
}
