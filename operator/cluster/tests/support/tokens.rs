//! Clients that have to show a token.

use super::Server;
use http::Request;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use std::path::Path;
use tower::{BoxError, Layer};

impl Server {
    /// A client with a token from a file, which the client library adds to each request and reads again by itself.
    pub fn client_with_token_of(&self, file: &Path) -> Client {
        let mut config = Config::new(http::Uri::from_static("https://api.example"));
        config.auth_info.token_file = Some(file.display().to_string());
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.handle(request).await.map_err(BoxError::from) }
        });
        let shows = config.auth_layer().unwrap().unwrap();
        Client::new(shows.layer(service), "default")
    }

    /// From now on a request has to show this token; every other is answered 401.
    pub fn admit(&self, token: &str) {
        self.state.lock().unwrap().token = Some(format!("Bearer {token}"));
    }
}
