//! Reading a cron expression, and naming its mistake. The macros have a copy of this file, which a test compares.

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};

/// A field of an expression.
struct Field {
    name: &'static str,
    values: &'static str,
    /// The largest value.
    most: u32,
    /// An expression with this field.
    example: &'static str,
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        values: "0 to 59",
        most: 59,
        example: "*/15 * * * *",
    },
    Field {
        name: "hour",
        values: "0 to 23",
        most: 23,
        example: "0 2 * * *",
    },
    Field {
        name: "day of the month",
        values: "1 to 31, or `L` for the last day",
        most: 31,
        example: "0 2 1 * *",
    },
    Field {
        name: "month",
        values: "1 to 12, or `JAN` to `DEC`",
        most: 12,
        example: "0 2 1 JAN *",
    },
    Field {
        name: "day of the week",
        values: "0 to 7 from Sunday to Sunday, or `SUN` to `SAT`",
        most: 7,
        example: "0 2 * * MON-FRI",
    },
];

/// The names of expressions.
const NICKNAMES: &str = "`@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@hourly`";

/// The expression, or its mistake and the remedy.
pub(super) fn parse(expression: &str) -> Result<Cron, String> {
    let expression = expression.trim();
    if expression.starts_with('@') {
        return parsed(expression).ok_or_else(|| no_expression(expression));
    }
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(miscounted(&fields));
    }
    let wrong = fields.iter().zip(&FIELDS).zip(0..);
    let mut wrong = wrong.filter_map(|((text, field), place)| objection(text, field, place));
    if let Some(objection) = wrong.next() {
        return Err(objection);
    }
    let cron = parsed(expression).ok_or_else(|| no_expression(expression))?;
    match has_a_day(&cron) {
        true => Ok(cron),
        false => Err(format!(
            "`{expression}` never occurs: no month of its months has such a day"
        )),
    }
}

fn no_expression(text: &str) -> String {
    format!(
        "`{text}` is no cron expression: write five fields such as `0 2 * * *`, or one of {NICKNAMES}"
    )
}

fn parsed(expression: &str) -> Option<Cron> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    parser.parse(expression).ok()
}

fn miscounted(fields: &[&str]) -> String {
    let meant = match fields {
        // With a field for seconds in front, or for years behind.
        [_, rest @ ..] if fields.len() == 6 && parsed(&rest.join(" ")).is_some() => rest.join(" "),
        _ => "0 2 * * *".to_owned(),
    };
    let seconds = match fields.len() {
        6 | 7 => " A schedule has neither seconds nor years.",
        _ => "",
    };
    format!(
        "a cron expression has 5 fields, and this has {}: minute, hour, day of the month, month, day of the week.{seconds} Write `{meant}`",
        fields.len()
    )
}

/// The mistake of one field.
fn objection(text: &str, field: &Field, place: usize) -> Option<String> {
    let Field {
        name,
        values,
        most,
        example,
    } = field;
    let mut alone = ["*"; FIELDS.len()];
    if let Some(own) = alone.get_mut(place) {
        *own = text;
    }
    let long = text
        .split(',')
        .filter_map(|part| part.split_once('/')?.1.parse::<u32>().ok())
        .find(|step| step > most);
    let why = match (long, text.split('/').next()) {
        (Some(step), _) => format!("the step {step} is larger than each value; "),
        (None, _) if text.split(',').any(str::is_empty) => {
            "an entry of its list is empty; ".to_owned()
        }
        (None, _) if parsed(&alone.join(" ")).is_some() => return None,
        (None, Some(start)) if start != text && start.parse::<u32>().is_ok() => {
            "a step follows `*` or a range; ".to_owned()
        }
        (None, _) if descends(text) => "a range ascends; ".to_owned(),
        (None, _) => String::new(),
    };
    Some(format!(
        "`{text}` is no {name}: {why}it is {values}. Write for example `{example}`"
    ))
}

/// Whether the text is a range of numbers in descending order.
fn descends(text: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    text.split_once('-')
        .and_then(|(first, last)| Some(number(first)? > number(last)?))
        .unwrap_or_default()
}

/// Whether some day fits. The calendar of weekdays repeats after 28 years within a century.
fn has_a_day(cron: &Cron) -> bool {
    const YEARS: std::ops::Range<i32> = 2000..2028;
    // 2000-01-01 was a Saturday.
    let mut weekday = 6;
    for year in YEARS {
        for month in 1..=12 {
            let days = match month {
                2 if year % 4 == 0 => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let is_meant = cron.pattern.month_match(month).unwrap_or_default();
            for day in 1..=days {
                let of_week = Weekday::from_days_from_sunday(weekday);
                let fits = cron.pattern.day_match(year, month, day, of_week);
                if is_meant && fits.unwrap_or_default() {
                    return true;
                }
                weekday += 1;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn expressions_of_five_fields_and_names_are_read() {
        for expression in [
            "* * * * *",
            "0 2 * * *",
            "*/15 9-17 * * MON-FRI",
            "0 0 L * *",
            "0 0 15W * *",
            "0 9 * * 5#2",
            "0 9 1 * +MON",
            "0 0 29 2 *",
            "0 0 29 2 +MON",
            "0 12 ? JAN,jul *",
            "  0 2 * * 7  ",
            "@daily",
            "@Hourly",
        ] {
            assert_eq!(parse(expression).err(), None, "{expression}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_field() {
        for (expression, said) in [
            ("60 * * * *", "`60` is no minute"),
            ("0 24 * * *", "`24` is no hour: it is 0 to 23"),
            ("0 2 32 * *", "`32` is no day of the month"),
            ("0 2 0 * *", "`0` is no day of the month"),
            ("0 2 * 13 *", "`13` is no month"),
            ("0 2 * FEBRUARY *", "`FEBRUARY` is no month"),
            ("0 2 * * 8", "`8` is no day of the week"),
            ("0 2 * * MONDAY", "`MONDAY` is no day of the week"),
            ("*/90 * * * *", "the step 90 is larger than each value"),
            ("0/10 * * * *", "a step follows `*` or a range"),
            ("0 22-2 * * *", "a range ascends"),
            ("0,,1 * * * *", "an entry of its list is empty"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("? * * * *", "`?` is no minute"),
            ("a b c d e", "`a` is no minute"),
            ("0 0 30 2 *", "never occurs"),
            ("0 0 31 4,6,9,11 *", "never occurs"),
            ("", "has 5 fields, and this has 0"),
            ("0 2", "has 5 fields, and this has 2"),
            (
                "0 0 2 * * *",
                "neither seconds nor years. Write `0 2 * * *`",
            ),
            ("0 0 2 * * ? 2027", "and this has 7"),
            ("@midnight", "or one of `@yearly`"),
            ("@reboot", "or one of `@yearly`"),
        ] {
            let said_instead = parse(expression).err().unwrap_or_default();
            assert!(said_instead.contains(said), "{expression}: {said_instead}");
        }
    }
}
