//! RFC 7541 appendix C, by number: the fields, the dynamic table behind each block and its size.

use std::ops::ControlFlow;

use super::table::DynamicTable;
use super::{Decoded, Decoder};

type Fields = &'static [(&'static str, &'static str)];

/// The list of an example, the table behind it and its size: the same with and without Huffman coding.
type Meaning = (Fields, Fields, usize);

/// A block in hexadecimal, its list, the table behind it (the newest first) and the table's size.
struct Example {
    number: &'static str,
    block: &'static str,
    list: Fields,
    table: Fields,
    size: usize,
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn text(field: (&[u8], &[u8])) -> (String, String) {
    (String::from_utf8(field.0.to_vec()).unwrap(), String::from_utf8(field.1.to_vec()).unwrap())
}

fn entries(table: &DynamicTable) -> Vec<(String, String)> {
    (0..table.len()).map(|age| text(table.get(age).unwrap())).collect()
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Decodes the examples one behind the other with a table of this size.
fn run(max_table: usize, examples: &[Example]) {
    let mut decoder = Decoder::new(max_table);
    for example in examples {
        let (mut list, mut tokens) = (Vec::new(), Vec::new());
        let decoded = decoder.decode(&bytes(example.block), usize::MAX, &mut |field| {
            list.push(text((field.name, field.value)));
            tokens.push(field.token);
            ControlFlow::Continue(())
        });
        assert_eq!(decoded, Ok(Decoded::Whole), "{}", example.number);
        assert_eq!(list, owned(example.list), "{}", example.number);
        assert_eq!(entries(decoder.table()), owned(example.table), "{}", example.number);
        assert_eq!(decoder.table().size(), example.size, "{}", example.number);
        // Whatever is still in the table has the token that its field had.
        for age in 0..decoder.table().len() {
            let token = decoder.table().token(age);
            if let Some(at) = tokens.iter().position(|&other| other == token) {
                assert_eq!(text(decoder.table().get(age).unwrap()), list[at], "{}", example.number);
            }
        }
    }
}

/// C.2.1 to C.2.4: one field in each representation.
#[test]
fn c_2_representations() {
    let one = |number, block, list, table, size| run(4096, &[Example { number, block, list, table, size }]);
    let custom = &[("custom-key", "custom-header")];
    one("C.2.1", "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", custom, custom, 55);
    one("C.2.2", "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], &[], 0);
    one("C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], &[], 0);
    one("C.2.4", "82", &[(":method", "GET")], &[], 0);
}

const REQUESTS: [Meaning; 3] = [
    (
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
        &[(":authority", "www.example.com")],
        57,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        &[("cache-control", "no-cache"), (":authority", "www.example.com")],
        110,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        &[("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", "www.example.com")],
        164,
    ),
];

const FIRST_DATE: &str = "Mon, 21 Oct 2013 20:13:21 GMT";
const LATER_DATE: &str = "Mon, 21 Oct 2013 20:13:22 GMT";
const LOCATION: (&str, &str) = ("location", "https://www.example.com");
const COOKIE: (&str, &str) = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");

const RESPONSES: [Meaning; 3] = [
    (
        &[(":status", "302"), ("cache-control", "private"), ("date", FIRST_DATE), LOCATION],
        &[LOCATION, ("date", FIRST_DATE), ("cache-control", "private"), (":status", "302")],
        222,
    ),
    (
        &[(":status", "307"), ("cache-control", "private"), ("date", FIRST_DATE), LOCATION],
        &[(":status", "307"), LOCATION, ("date", FIRST_DATE), ("cache-control", "private")],
        222,
    ),
    (
        &[
            (":status", "200"),
            ("cache-control", "private"),
            ("date", LATER_DATE),
            LOCATION,
            ("content-encoding", "gzip"),
            COOKIE,
        ],
        &[COOKIE, ("content-encoding", "gzip"), ("date", LATER_DATE)],
        215,
    ),
];

fn run_all(max_table: usize, blocks: [(&'static str, &'static str); 3], meanings: [Meaning; 3]) {
    let examples: Vec<Example> = blocks
        .into_iter()
        .zip(meanings)
        .map(|((number, block), (list, table, size))| Example { number, block, list, table, size })
        .collect();
    run(max_table, &examples);
}

#[test]
fn c_3_requests_without_huffman_coding() {
    let blocks = [
        ("C.3.1", "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"),
        ("C.3.2", "8286 84be 5808 6e6f 2d63 6163 6865"),
        ("C.3.3", "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"),
    ];
    run_all(4096, blocks, REQUESTS);
}

#[test]
fn c_4_requests_with_huffman_coding() {
    let blocks = [
        ("C.4.1", "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"),
        ("C.4.2", "8286 84be 5886 a8eb 1064 9cbf"),
        ("C.4.3", "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"),
    ];
    run_all(4096, blocks, REQUESTS);
}

#[test]
fn c_5_responses_without_huffman_coding_in_a_table_of_256_bytes() {
    let blocks = [
        (
            "C.5.1",
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
             3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        ),
        ("C.5.2", "4803 3330 37c1 c0bf"),
        (
            "C.5.3",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
             7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
             6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ),
    ];
    run_all(256, blocks, RESPONSES);
}

#[test]
fn c_6_responses_with_huffman_coding_in_a_table_of_256_bytes() {
    let blocks = [
        (
            "C.6.1",
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
             1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        ),
        ("C.6.2", "4883 640e ffc1 c0bf"),
        (
            "C.6.3",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
             e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ),
    ];
    run_all(256, blocks, RESPONSES);
}
