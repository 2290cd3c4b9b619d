//! The lines of the CSV file, checked one by one.

use std::collections::HashSet;
use std::fmt;

use csv::ByteRecord;
use rust_decimal::Decimal;

/// One line, as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its number in the file, from 1; the header is line 1.
    pub number: u64,
    pub invoice: String,
    pub stock_code: String,
    pub description: String,
    pub quantity: i32,
    pub date: String,
    pub unit_price: Decimal,
    pub customer: Option<String>,
    pub country: String,
}

/// A malformed line, and everything behind it.
#[derive(Debug, PartialEq)]
pub struct Malformed {
    /// The number of the line in the file.
    pub line: u64,
    /// The invoice that the line names.
    pub invoice: Option<String>,
    /// Whether its columns are out of place, so that it may belong to another invoice than it seems.
    pub shifted: bool,
    /// The problem, and the expected form.
    pub reason: String,
    /// The invoices behind it.
    pub behind: HashSet<String>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.reason)
    }
}

/// The longest id that the store takes is 512 bytes, `ord-` and `inv-` included.
const MAX_ID_BYTES: usize = 508;
/// Prices up to this number of decimals, and amounts up to this limit, add up exactly over millions of lines.
const MAX_PRICE_DECIMALS: u32 = 10;
const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// The places of the columns, by the header.
#[derive(Debug, Clone, Copy)]
struct Columns {
    invoice: usize,
    stock_code: usize,
    description: usize,
    quantity: usize,
    date: usize,
    unit_price: usize,
    customer: usize,
    country: usize,
    count: usize,
}

impl Columns {
    fn find(header: &ByteRecord) -> Result<Self, String> {
        let names: Vec<String> = header.iter().map(text).collect();
        let find = |column: &str| {
            let mut found = (0..).zip(&names).filter(|(_, name)| *name == column);
            match (found.next(), found.next()) {
                (Some((index, _)), None) => Ok(index),
                (Some(_), Some(_)) => Err(format!("the column `{column}` stands there twice")),
                (None, _) => Err(format!(
                    "the column `{column}` is missing; the columns are {}",
                    names.join(", ")
                )),
            }
        };
        Ok(Self {
            invoice: find("InvoiceNo")?,
            stock_code: find("StockCode")?,
            description: find("Description")?,
            quantity: find("Quantity")?,
            date: find("InvoiceDate")?,
            unit_price: find("UnitPrice")?,
            customer: find("CustomerID")?,
            country: find("Country")?,
            count: names.len(),
        })
    }
}

/// The lines of a file, up to the first malformed one.
pub struct Lines<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    record: ByteRecord,
    columns: Columns,
    /// A place at the beginning of a line, and the number of that line.
    place: (usize, u64),
    ended: bool,
}

impl<'a> Lines<'a> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// The problem of the header.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err("the file is UTF-16; save it as UTF-8".to_owned());
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = reader(bytes, true);
        let mut record = ByteRecord::new();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Err("the file is empty; a header line is expected".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        Ok(Self {
            columns: Columns::find(&record)?,
            bytes,
            reader,
            record,
            place: (0, 1),
            ended: false,
        })
    }

    /// The beginning of the next record. The line break before it belongs to no record, and neither do empty lines.
    fn begin_of_record(&self) -> usize {
        let offset = offset(&self.reader);
        let rest = tail(self.bytes, offset).iter();
        offset
            + rest
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count()
    }

    /// The number of the line at `offset`, which lies behind every earlier offset.
    fn line_number(&mut self, offset: usize) -> u64 {
        let (from, number) = self.place;
        let breaks = line_breaks(self.bytes, from, offset);
        self.place = (offset, number + breaks);
        self.place.1
    }

    fn check(&self, number: u64, raw: &[u8]) -> Result<Line, Problem> {
        let columns = &self.columns;
        if raw.iter().any(|byte| matches!(byte, b'\r' | b'\n')) && !well_quoted(raw) {
            return Err(Problem::shifted(
                "a quote is opened and not closed before the next comma".to_owned(),
            ));
        }
        let extra = self.record.iter().skip(columns.count);
        if self.record.len() < columns.count || extra.into_iter().any(|field| !field.is_empty()) {
            let (found, expected) = (self.record.len(), columns.count);
            let reason = format!("the header has {expected} columns, and this line has {found}");
            return Err(Problem::shifted(reason));
        }
        let field = |index| text(self.record.get(index).unwrap_or_default());
        let invoice = id("InvoiceNo", field(columns.invoice)).map_err(Problem::shifted)?;
        let line = || {
            let line = Line {
                number,
                invoice,
                stock_code: id("StockCode", field(columns.stock_code))?,
                description: field(columns.description),
                quantity: quantity(&field(columns.quantity))?,
                date: field(columns.date),
                unit_price: unit_price(&field(columns.unit_price))?,
                customer: Some(field(columns.customer)).filter(|customer| !customer.is_empty()),
                country: country(field(columns.country))?,
            };
            let amount = line.unit_price.checked_mul(Decimal::from(line.quantity));
            match amount {
                Some(amount) if amount.abs() <= Decimal::from(MAX_AMOUNT) => Ok(line),
                _ => Err(format!(
                    "Quantity {} at UnitPrice {} is more than the {MAX_AMOUNT} that one line can amount to",
                    line.quantity, line.unit_price
                )),
            }
        };
        line().map_err(Problem::in_place)
    }

    fn malformed(&self, begin: usize, line: u64, problem: Problem) -> Malformed {
        let invoice = self.record.get(self.columns.invoice).map(text);
        let rest = next_line(self.bytes, begin);
        let mut behind = HashSet::new();
        // A stray quote hides the lines up to the next one, so look with and without regard to quotes.
        for quoting in [true, false] {
            for record in reader(rest, quoting).byte_records().map_while(Result::ok) {
                behind.extend(record.get(self.columns.invoice).map(text));
            }
        }
        Malformed {
            line,
            invoice: invoice.filter(|invoice| !invoice.is_empty()),
            shifted: problem.shifted,
            reason: problem.reason,
            behind,
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Box<Malformed>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let begin = self.begin_of_record();
            let read = match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => break,
                Ok(true)
                    if self
                        .record
                        .iter()
                        .all(|field| field.trim_ascii().is_empty()) =>
                {
                    continue;
                }
                Ok(true) => Ok(()),
                Err(error) => Err(Problem::shifted(error.to_string())),
            };
            let number = self.line_number(begin);
            let raw = self
                .bytes
                .get(begin..offset(&self.reader))
                .unwrap_or_default();
            let line = read.and_then(|()| self.check(number, raw.trim_ascii_end()));
            return Some(line.map_err(|problem| {
                self.ended = true;
                Box::new(self.malformed(begin, number, problem))
            }));
        }
        None
    }
}

/// The problem of a line.
struct Problem {
    /// Whether its columns are out of place.
    shifted: bool,
    reason: String,
}

impl Problem {
    fn shifted(reason: String) -> Self {
        Self {
            shifted: true,
            reason,
        }
    }

    fn in_place(reason: String) -> Self {
        Self {
            shifted: false,
            reason,
        }
    }
}

fn reader(bytes: &[u8], quoting: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(quoting)
        .from_reader(bytes)
}

fn offset(reader: &csv::Reader<&[u8]>) -> usize {
    usize::try_from(reader.position().byte()).unwrap_or(usize::MAX)
}

fn tail(bytes: &[u8], offset: usize) -> &[u8] {
    bytes.get(offset..).unwrap_or_default()
}

/// The number of line ends between two offsets: `\n`, `\r\n` or `\r`.
fn line_breaks(bytes: &[u8], from: usize, to: usize) -> u64 {
    let between = (from..to).zip(tail(bytes, from));
    let breaks = between.filter(|(index, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    });
    breaks.map(|_| 1).sum()
}

/// Whether every field that opens with a quote closes with one. A record of several lines must, or it is likely to be
/// many records behind one stray quote.
fn well_quoted(record: &[u8]) -> bool {
    let mut rest = record;
    loop {
        if let [b'"', quoted @ ..] = rest {
            rest = quoted;
            loop {
                match rest {
                    [b'"', b'"', after @ ..] => rest = after,
                    [b'"', after @ ..] => {
                        rest = after;
                        break;
                    }
                    [_, after @ ..] => rest = after,
                    [] => return false,
                }
            }
            if !matches!(rest, [] | [b',', ..]) {
                return false;
            }
        }
        match rest.iter().position(|byte| *byte == b',') {
            Some(comma) => rest = tail(rest, comma + 1),
            None => return true,
        }
    }
}

/// The text behind the line that begins at `begin`.
fn next_line(bytes: &[u8], begin: usize) -> &[u8] {
    let rest = tail(bytes, begin);
    match rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(end) => tail(rest, end),
        None => &[],
    }
}

/// The text of a field, without white space around it. Bytes that are not UTF-8 are read as Latin-1, in which every byte is a
/// character.
fn text(field: &[u8]) -> String {
    let field = field.trim_ascii();
    match std::str::from_utf8(field) {
        Ok(text) => text.to_owned(),
        Err(_) => field.iter().copied().map(char::from).collect(),
    }
}

fn id(column: &str, text: String) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("{column} is empty; a number or code is expected"));
    }
    if text.len() > MAX_ID_BYTES {
        let length = text.len();
        return Err(format!(
            "{column} has {length} bytes; at most {MAX_ID_BYTES} are possible"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{column} {text:?} has a control character in it"));
    }
    Ok(text)
}

fn country(text: String) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err(format!("Country {text:?} has a control character in it"));
    }
    Ok(if text.is_empty() {
        "Unspecified".to_owned()
    } else {
        text
    })
}

/// A whole number; `6.0` is one too, since spreadsheets write it.
fn quantity(text: &str) -> Result<i32, String> {
    let number = decimal(text).filter(|number| number.is_integer());
    let number =
        number.ok_or_else(|| format!("Quantity `{text}` is no whole number, such as 6 or -2"))?;
    i32::try_from(number).map_err(|_| {
        let (min, max) = (i32::MIN, i32::MAX);
        format!("Quantity {text} is out of range: {min} to {max} are possible")
    })
}

/// An exact decimal. It may be negative, as in the entries that write off a debt.
fn unit_price(text: &str) -> Result<Decimal, String> {
    let price = decimal(text)
        .ok_or_else(|| format!("UnitPrice `{text}` is no decimal number, such as 2.55"))?;
    if price.scale() > MAX_PRICE_DECIMALS {
        return Err(format!(
            "UnitPrice {text} has more than {MAX_PRICE_DECIMALS} decimals"
        ));
    }
    Ok(price)
}

fn decimal(text: &str) -> Option<Decimal> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    if !text.bytes().all(plain) {
        return None;
    }
    Some(Decimal::from_str_exact(text).ok()?.normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    fn lines(text: impl AsRef<[u8]>) -> Result<Vec<Line>, Box<Malformed>> {
        let bytes = [HEADER.as_bytes(), text.as_ref()].concat();
        Lines::new(&bytes).unwrap().collect()
    }

    fn malformed(text: impl AsRef<[u8]>) -> Malformed {
        *lines(text).unwrap_err()
    }

    #[test]
    fn a_line_is_read() {
        let read = lines("536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n");
        let expected = Line {
            number: 2,
            invoice: "536365".to_owned(),
            stock_code: "85123A".to_owned(),
            description: "HEART".to_owned(),
            quantity: 6,
            date: "2010-12-01 08:26:00".to_owned(),
            unit_price: Decimal::new(255, 2),
            customer: Some("17850.0".to_owned()),
            country: "United Kingdom".to_owned(),
        };
        assert_eq!(read.unwrap(), [expected]);
    }

    #[test]
    fn line_endings_quotes_and_blank_lines_make_no_difference() {
        let text = "1,A,\"with, comma\",1,any day,1.0,,EIRE\n\n2,B,\"with \"\"quote\"\"\",1,,1.0,,EIRE\n\
                    3,C,\"with\nnewline\",1,,1.0,,EIRE\n,,,,,,,\n4,D,5\" RULER,1,,1.0,,EIRE";
        for ending in ["\n", "\r\n", "\r"] {
            let whole = format!("\u{feff}{HEADER}{text}").replace('\n', ending);
            let read: Vec<Line> = Lines::new(whole.as_bytes())
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let numbers: Vec<_> = read.iter().map(|line| line.number).collect();
            assert_eq!(numbers, [2, 4, 5, 8], "{ending:?}");
            let descriptions: Vec<_> = read
                .iter()
                .map(|line| line.description.replace(ending, "\n"))
                .collect();
            let expected = [
                "with, comma",
                "with \"quote\"",
                "with\nnewline",
                "5\" RULER",
            ];
            assert_eq!(descriptions, expected, "{ending:?}");
            assert!(read.iter().all(|line| line.customer.is_none()));
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "Country,Remark,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo\n\
                    EIRE,none,7,2.5,now,3,HEART,85123A,536365\n";
        let read: Vec<_> = Lines::new(text.as_bytes()).unwrap().collect();
        let line = read[0].as_ref().unwrap();
        assert_eq!((line.invoice.as_str(), line.quantity), ("536365", 3));

        let refused = |text: &[u8]| Lines::new(text).err().unwrap();
        let without = HEADER.replace("UnitPrice", "Price");
        assert!(refused(without.as_bytes()).starts_with("the column `UnitPrice` is missing"));
        let twice = HEADER.replace("Description", "Quantity");
        assert!(
            refused(
                twice
                    .replace("StockCode", "Description,StockCode")
                    .as_bytes()
            )
            .contains("`Quantity` stands there twice")
        );
        assert!(refused(b"").contains("empty"));
        assert!(refused(b"\xff\xfeI\0").contains("UTF-16"));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_latin_1() {
        let read =
            lines(b"1,A,CAF\xc9 \xa35,1,,1,,R\xe9union\n2,B,CAF\xc3\x89,1,,1,,EIRE\n").unwrap();
        assert_eq!(read[0].description, "CAFÉ £5");
        assert_eq!(read[0].country, "Réunion");
        assert_eq!(read[1].description, "CAFÉ");
    }

    #[test]
    fn numbers_are_exact_and_bounded() {
        for (text, expected) in [("6", 6), ("-2.0", -2), ("+3", 3), ("-2147483648", i32::MIN)] {
            assert_eq!(quantity(text), Ok(expected));
        }
        for text in [
            "",
            "6.5",
            "six",
            "1_000",
            "1e3",
            "2147483648",
            "9".repeat(60).as_str(),
        ] {
            assert!(quantity(text).is_err(), "{text}");
        }
        assert_eq!(unit_price("-11062.06"), Ok(Decimal::new(-1_106_206, 2)));
        assert_eq!(unit_price("2.5500000000000"), Ok(Decimal::new(255, 2)));
        for text in ["", "2,55", "£2.55", "NaN", "2.55.1", "0.12345678901"] {
            assert!(unit_price(text).is_err(), "{text}");
        }
        let huge = malformed("1,A,,2147483647,,1000,,EIRE\n");
        assert!(huge.reason.contains("more than the 1000000000000"));
    }

    #[test]
    fn a_malformed_line_says_what_is_wrong() {
        let long = "9".repeat(509);
        for (text, shifted, reason) in [
            (
                "1,A,,six,,1,,EIRE",
                false,
                "Quantity `six` is no whole number",
            ),
            (
                "1,A,,6,,free,,EIRE",
                false,
                "UnitPrice `free` is no decimal number",
            ),
            ("1,,,6,,1,,EIRE", false, "StockCode is empty"),
            (
                "1,a\tb,,6,,1,,EIRE",
                false,
                "StockCode \"a\\tb\" has a control character",
            ),
            (",A,,6,,1,,EIRE", true, "InvoiceNo is empty"),
            (
                &format!("{long},A,,6,,1,,EIRE"),
                true,
                "InvoiceNo has 509 bytes",
            ),
            ("1,A,,6,,1,", true, "8 columns, and this line has 7"),
            (
                "1,A,one, two,6,,1,,EIRE",
                true,
                "8 columns, and this line has 9",
            ),
            (
                "1,A,\"open,6,,1,,EIRE\n3,B,,1,,1,,EIRE",
                true,
                "a quote is opened and not closed",
            ),
            (
                "1,A,\"one\ntwo\" three,6,,1,,EIRE",
                true,
                "a quote is opened and not closed",
            ),
        ] {
            let found = malformed(format!("0,A,,1,,1,,EIRE\n{text}\n2,B,,1,,1,,EIRE\n"));
            assert_eq!(found.line, 3, "{text}");
            assert_eq!(found.shifted, shifted, "{text}");
            assert!(found.reason.contains(reason), "{text}: {found}");
            assert!(found.behind.contains("2"), "{text}");
            assert!(!found.behind.contains("0"), "{text}");
        }
        assert!(
            lines("1,A,,6,,1,,EIRE,,\n").is_ok(),
            "empty columns at the end"
        );
    }

    #[test]
    fn an_open_quote_does_not_swallow_lines_unseen() {
        // Read by the rules of CSV, this is one line with eight columns.
        let found = malformed(
            "1,A,\"OPEN,6,,1,,EIRE\n2,B,,1,,1,,EIRE\n3,C,5\" RULER,1,,1,,EIRE\n4,D,\"X\",1,,1,,EIRE\n",
        );
        assert_eq!(found.line, 2);
        for invoice in ["2", "3", "4"] {
            assert!(found.behind.contains(invoice));
        }
    }
}
