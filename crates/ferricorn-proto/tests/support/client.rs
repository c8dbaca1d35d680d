//! A client's reading of responses (RFC 9112 section 6.3), written apart from the code it checks.

/// A response as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether the body ended where its framing says; of a body that ends with the connection, nobody can say it.
    pub end: End,
    /// Interim responses ahead of it.
    pub interim: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By its own framing.
    Whole,
    /// With the connection.
    Connection,
    /// Something is missing.
    Missing,
}

impl Response {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n == name).count()
    }

    pub fn closes(&self) -> bool {
        let options =
            self.fields.iter().filter(|(name, _)| name == "connection").flat_map(|(_, value)| value.split(','));
        options.map(str::trim).any(|option| option == "close")
    }
}

/// Reads all responses; `to_head` says of each request whether it was HEAD, those beyond it are not.
pub fn read_responses(mut bytes: &[u8], to_head: &[bool]) -> Result<Vec<Response>, String> {
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let is_head = to_head.get(responses.len()).copied().unwrap_or(false);
        responses.extend(read_response(&mut bytes, is_head)?);
    }
    Ok(responses)
}

/// None: interim responses, and not yet the one they are ahead of.
fn read_response(bytes: &mut &[u8], to_head: bool) -> Result<Option<Response>, String> {
    let mut interim = Vec::new();
    while !bytes.is_empty() {
        let (status, fields) = read_head(bytes)?;
        if status / 100 == 1 {
            interim.push(status);
            continue;
        }
        let mut response =
            Response { status, fields, body: Vec::new(), trailers: Vec::new(), end: End::Whole, interim };
        read_body(bytes, to_head, &mut response)?;
        return Ok(Some(response));
    }
    Ok(None)
}

fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, String> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").ok_or("a line without end")?;
    let (line, rest) = bytes.split_at(end);
    *bytes = &rest[2..];
    let line = std::str::from_utf8(line).map_err(|_| "a line that is no text")?;
    if line.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(format!("a control character in {line:?}"));
    }
    Ok(line)
}

fn fields(bytes: &mut &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut fields = Vec::new();
    loop {
        match line(bytes)? {
            "" => return Ok(fields),
            field => {
                let (name, value) = field.split_once(": ").ok_or_else(|| format!("no field: {field:?}"))?;
                fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

fn read_head(bytes: &mut &[u8]) -> Result<(u16, Vec<(String, String)>), String> {
    let status_line = line(bytes)?;
    let rest = status_line.strip_prefix("HTTP/1.1 ").ok_or_else(|| format!("no status line: {status_line:?}"))?;
    let (status, _) = rest.split_once(' ').ok_or("no space behind the status")?;
    Ok((status.parse().map_err(|_| "no status")?, fields(bytes)?))
}

fn read_body(bytes: &mut &[u8], to_head: bool, response: &mut Response) -> Result<(), String> {
    let (length, coding) = (response.count("content-length"), response.count("transfer-encoding"));
    if length + coding > 1 {
        return Err(format!("framed more than once: {response:?}"));
    }
    if to_head || matches!(response.status, 204 | 304) {
        return Ok(());
    }
    if coding == 1 {
        return read_chunks(bytes, response);
    }
    let (body, rest) = match response.get("content-length") {
        None => (*bytes, &b""[..]),
        Some(length) => {
            let length: usize = length.parse().map_err(|_| "no length")?;
            bytes.split_at(length.min(bytes.len()))
        }
    };
    response.body = body.to_vec();
    response.end = match response.get("content-length") {
        None => End::Connection,
        Some(length) if length.parse() == Ok(body.len()) => End::Whole,
        Some(_) => End::Missing,
    };
    *bytes = rest;
    Ok(())
}

fn read_chunks(bytes: &mut &[u8], response: &mut Response) -> Result<(), String> {
    loop {
        response.end = End::Missing;
        if bytes.is_empty() {
            return Ok(());
        }
        let size = usize::from_str_radix(line(bytes)?, 16).map_err(|_| "no chunk size")?;
        if size == 0 {
            // A section of trailers that does not end is not an end.
            let mut rest = *bytes;
            if let Ok(trailers) = fields(&mut rest) {
                response.trailers = trailers;
                response.end = End::Whole;
                *bytes = rest;
            } else {
                *bytes = b"";
            }
            return Ok(());
        }
        let data = bytes.get(..size).ok_or("a chunk that is cut")?;
        response.body.extend_from_slice(data);
        *bytes = &bytes[size..];
        if !line(bytes)?.is_empty() {
            return Err("no CRLF behind a chunk".to_owned());
        }
    }
}
