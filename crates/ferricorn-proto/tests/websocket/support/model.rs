//! A second, simpler session: frames as values, messages as lists, nothing incremental. It says what has to come of what a
//! client sends and what an application does.

use super::Seen;
use super::frames::{ClientFrame, ServerFrame};
use super::inflate::Inflater;

/// The side of a client and an application that both know the rules.
pub struct Model {
    pub max_message: u64,
    /// Decompresses what the client sends, where that was agreed to.
    pub inflater: Option<Inflater>,
    /// All messages that the application is to get, if it does not close before.
    pub messages: Vec<Seen>,
    /// All frames that the server is to write; what is sent compressed stands here as it is before.
    pub written: Vec<ServerFrame>,
    pub state: State,
    /// What the application is told in the end.
    pub closed: Option<u16>,
    begun: Option<ClientFrame>,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Closing,
    Over,
}

impl Model {
    pub fn new(max_message: u64, inflater: Option<Inflater>) -> Self {
        Self {
            max_message,
            inflater,
            messages: Vec::new(),
            written: Vec::new(),
            state: State::Open,
            closed: None,
            begun: None,
            size: 0,
        }
    }

    /// A frame of the client arrived.
    pub fn frame(&mut self, frame: &ClientFrame) {
        if self.state == State::Over {
            return;
        }
        let outcome = if frame.opcode >= 8 { self.control(frame) } else { self.data(frame) };
        if let Err(code) = outcome {
            self.end(code);
        }
    }

    /// The server's own end, with a close frame if there was none.
    pub fn end(&mut self, code: u16) {
        if self.state == State::Open {
            self.write(8, &code.to_be_bytes());
        }
        self.closed.get_or_insert(code);
        self.state = State::Over;
    }

    pub fn lost(&mut self) {
        self.closed.get_or_insert(1006);
        self.state = State::Over;
    }

    /// Whether the application can send this.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> bool {
        let open = self.state == State::Open;
        if open {
            self.write(opcode, payload);
        }
        open
    }

    /// Whether the application can close so.
    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        let is_code = (1000..5000).contains(&code) && ![1005, 1006, 1015].contains(&code);
        if self.state != State::Open || !is_code || reason.len() > 123 {
            return false;
        }
        self.write(8, &[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.closed = Some(code);
        self.state = State::Closing;
        true
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) {
        self.written.push(ServerFrame { opcode, compressed: false, payload: payload.to_vec() });
    }

    fn control(&mut self, frame: &ClientFrame) -> Result<(), u16> {
        let payload = &frame.payload;
        let well_formed = frame.opcode <= 10 && frame.reserved == 0 && frame.fin && frame.mask.is_some();
        if !well_formed || payload.len() > 125 {
            return Err(1002);
        }
        match frame.opcode {
            8 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let is_code = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                if payload.len() == 1 || code.is_some_and(|code| !is_code(code)) {
                    return Err(1002);
                }
                str::from_utf8(payload.get(2..).unwrap_or_default()).map_err(|_| 1007_u16)?;
                if self.state == State::Open {
                    self.write(8, &payload[..payload.len().min(2)]);
                }
                self.closed.get_or_insert(code.unwrap_or(1005));
                self.state = State::Over;
            }
            9 if self.state == State::Open => self.write(10, payload),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, frame: &ClientFrame) -> Result<(), u16> {
        let is_first = frame.opcode != 0;
        let compressed = frame.reserved == 4 && self.inflater.is_some() && is_first;
        if frame.opcode > 2
            || frame.reserved != 0 && !compressed
            || is_first == self.begun.is_some()
            || frame.mask.is_none()
        {
            return Err(1002);
        }
        if is_first {
            self.size = 0;
            self.begun = Some(ClientFrame { payload: Vec::new(), ..frame.clone() });
        }
        let Some(message) = &mut self.begun else { return Err(1002) };
        let length = frame.payload.len() as u64;
        self.size += if length == 0 && !frame.fin { 1 } else { length };
        let slack = if message.reserved == 0 { 0 } else { self.max_message / 8 + 1024 };
        if self.state == State::Open && self.size > self.max_message + slack {
            return Err(1009);
        }
        message.payload.extend_from_slice(&frame.payload);
        if self.state == State::Open && message.opcode == 1 && message.reserved == 0 {
            check_text(&message.payload, frame.fin)?;
        }
        if !frame.fin {
            return Ok(());
        }
        let message = self.begun.take().ok_or(1002_u16)?;
        if self.state != State::Open {
            return Ok(());
        }
        let payload = match &mut self.inflater {
            Some(inflater) if message.reserved != 0 => {
                let payload = inflater.message(&message.payload).ok_or(1007_u16)?;
                let fits = payload.len().min(self.max_message as usize);
                if message.opcode == 1 {
                    check_text(&payload[..fits], fits == payload.len())?;
                }
                if fits < payload.len() {
                    return Err(1009);
                }
                payload
            }
            _ => message.payload,
        };
        self.messages.push(match message.opcode {
            1 => Seen::Text(String::from_utf8(payload).map_err(|_| 1007_u16)?),
            _ => Seen::Binary(payload),
        });
        Ok(())
    }
}

/// A text that has not ended may end within a character.
fn check_text(bytes: &[u8], ended: bool) -> Result<(), u16> {
    match str::from_utf8(bytes) {
        Err(error) if ended || error.error_len().is_some() => Err(1007),
        _ => Ok(()),
    }
}
