//! The services over HTTP.

use async_trait::async_trait;
use eventfold_es::HandleError;
use reqwest::{Client, StatusCode};

use super::agency::{Booked, TravelServices};
use super::reservation::Service;

pub struct HttpServices {
    pub client: Client,
    /// For example, `https://travel.example`.
    pub address: String,
}

impl HttpServices {
    fn url(&self, service: Service, reservation: &str) -> String {
        format!("{}/{}/{reservation}", self.address, service.name())
    }
}

#[async_trait]
impl TravelServices for HttpServices {
    async fn book(
        &self,
        service: Service,
        reservation: &str,
        item: &str,
        key: &str,
    ) -> Result<Booked, HandleError> {
        let request = self.client.post(self.url(service, reservation));
        let request = request.header("Idempotency-Key", key).body(item.to_owned());
        let response = request.send().await.map_err(HandleError::failed)?;
        if response.status() == StatusCode::CONFLICT {
            let reason = response.text().await.map_err(HandleError::failed)?;
            return Ok(Booked::Refused(reason));
        }
        response.error_for_status().map_err(HandleError::failed)?;
        Ok(Booked::Confirmed)
    }

    async fn cancel(&self, service: Service, reservation: &str) -> Result<(), HandleError> {
        let request = self.client.delete(self.url(service, reservation));
        let response = request.send().await.map_err(HandleError::failed)?;
        response.error_for_status().map_err(HandleError::failed)?;
        Ok(())
    }
}
