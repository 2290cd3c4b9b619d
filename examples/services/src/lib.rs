//! Examples of eventfold-es.

use std::error::Error;
use std::time::Duration;

/// The longest time of [`until`].
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `holds`. The programs of the guide wait for conditions, and never for a time.
///
/// # Errors
///
/// The error of `holds`, or an error with `condition` after two minutes.
pub async fn until(
    condition: &str,
    holds: impl AsyncFn() -> Result<bool, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let waiting = async {
        while !holds().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(waited) => waited,
        Err(_) => Err(format!("after {PATIENCE:?} it does not hold that {condition}").into()),
    }
}
