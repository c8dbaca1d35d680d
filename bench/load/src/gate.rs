//! What the client and whoever started it say to each other, so that connecting, shaking hands and warming up are not
//! measured, and so that the connections are still open when the server's memory is read:
//!
//!     client: ready     starter: a line     client: the result     starter: end of file

use std::io::{self, Read, Write};

pub struct Gate {
    /// Otherwise nothing is said but the result.
    pub open: bool,
}

impl Gate {
    /// Says that the load can begin, and waits until it may. Fails where stdin ends instead.
    pub fn ready(&self) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        say("ready")?;
        let mut line = String::new();
        match io::stdin().read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Says the result, and waits until the connections may be closed.
    pub fn done(&self, result: &str) -> io::Result<()> {
        say(result)?;
        if self.open {
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
