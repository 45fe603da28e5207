//! Rust clients of AWS, one per run: `clients NAME [keep]`; the protocol is
//! that of ../../python/clients.py.

use std::error::Error;
use std::io::stdin;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::ProvideCredentials;
use rusoto_credential::{DefaultCredentialsProvider, ProvideAwsCredentials};

type Answer<T> = Result<T, Box<dyn Error>>;

enum Client {
    Sdk(DefaultCredentialsChain),
    Rusoto(DefaultCredentialsProvider),
}

impl Client {
    async fn open(name: &str) -> Answer<Client> {
        Ok(match name {
            "sdk" => Client::Sdk(DefaultCredentialsChain::builder().build().await),
            "rusoto" => Client::Rusoto(DefaultCredentialsProvider::new()?),
            _ => return Err(format!("no client {name}").into()),
        })
    }

    async fn poll(&self) -> Answer<String> {
        Ok(match self {
            Client::Sdk(chain) => chain.provide_credentials().await?.access_key_id().into(),
            Client::Rusoto(chain) => chain.credentials().await?.aws_access_key_id().into(),
        })
    }
}

async fn answer(name: &str, kept: &mut Option<Client>) -> Answer<String> {
    let client = match kept.take() {
        Some(client) => client,
        None => Client::open(name).await?,
    };
    kept.insert(client).poll().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let keeps = args.get(1).is_some_and(|how| how == "keep");
    let mut kept = None;
    println!("ready");
    for _ in stdin().lines() {
        match answer(&args[0], &mut kept).await {
            Ok(key) => println!("ok {key} -"),
            Err(error) => println!("error {}", format!("{error:?}").replace('\n', " ")),
        }
        if !keeps {
            kept = None;
        }
    }
}
