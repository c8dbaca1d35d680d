//! Frames as a client writes them, whatever it may, and as it reads them, strictly. Written apart from the crate's own.

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 as 4, 2 and 1.
    pub reserved: u8,
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub payload: Vec<u8>,
}

impl ClientFrame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { fin: true, reserved: 0, opcode, mask: Some([0x37, 0xfa, 0x21, 0x3d]), payload }
    }

    pub fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(1, payload)
    }

    pub fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self::new(2, payload)
    }

    pub fn continuation(payload: impl AsRef<[u8]>) -> Self {
        Self::new(0, payload)
    }

    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        Self::new(8, [&code.to_be_bytes(), reason.as_ref()].concat())
    }

    pub fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self::new(9, payload)
    }

    pub fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self::new(10, payload)
    }

    /// Not the last of its message.
    pub fn begun(mut self) -> Self {
        self.fin = false;
        self
    }

    pub fn compressed(mut self) -> Self {
        self.reserved = 4;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(self.payload.len() as u64);
        let key = self.mask.unwrap_or_default();
        bytes.extend(self.payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        bytes
    }

    /// The head that announces so many bytes.
    pub fn head(&self, length: u64) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        let masked = u8::from(self.mask.is_some()) << 7;
        if length < 126 {
            bytes.push(masked | length as u8);
        } else if let Ok(length) = u16::try_from(length) {
            bytes.push(masked | 126);
            bytes.extend(length.to_be_bytes());
        } else {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
        bytes.extend(self.mask.iter().flatten());
        bytes
    }
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFrame {
    pub opcode: u8,
    pub compressed: bool,
    pub payload: Vec<u8>,
}

impl ServerFrame {
    pub fn close_code(&self) -> Option<u16> {
        (self.opcode == 8).then(|| self.payload.first_chunk().map(|code| u16::from_be_bytes(*code)))?
    }
}

/// Takes all frames off the front; what is left is the start of one. Panics where a server may not write so: in fragments
/// (this one never does), masked, with reserved bits, lengths that are not minimal, long control frames, close codes that
/// may not be sent, anything behind a close frame.
pub fn take_frames(bytes: &mut Vec<u8>) -> Vec<ServerFrame> {
    let mut frames: Vec<ServerFrame> = Vec::new();
    let mut at = 0;
    while let Some((frame, size)) = read_frame(&bytes[at..]) {
        assert!(frames.last().is_none_or(|last| last.opcode != 8), "{frame:?} behind a close frame");
        frames.push(frame);
        at += size;
    }
    bytes.drain(..at);
    frames
}

fn read_frame(bytes: &[u8]) -> Option<(ServerFrame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xb0, 0x80, "FIN, RSV2, RSV3");
    let (opcode, compressed) = (first & 15, first & 0x40 != 0);
    assert!(matches!(opcode, 1 | 2 | 8..=10) && (!compressed || opcode <= 2), "opcode {first:#x}");
    assert_eq!(second & 0x80, 0, "masked");
    let (length, start) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let minimal = if length < 126 {
        2
    } else if length < 65_536 {
        4
    } else {
        10
    };
    assert_eq!(start, minimal, "length {length}");
    assert!(opcode < 8 || length <= 125);
    let payload = bytes.get(start..start + length as usize)?.to_vec();
    let size = start + payload.len();
    let frame = ServerFrame { opcode, compressed, payload };
    if opcode == 8 {
        assert_ne!(length, 1);
        assert!(!matches!(frame.close_code(), Some(0..=999 | 1005 | 1006 | 1015 | 5000..)), "{frame:?}");
        assert!(str::from_utf8(frame.payload.get(2..).unwrap_or_default()).is_ok());
    }
    Some((frame, size))
}
