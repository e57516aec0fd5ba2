//! The cluster that a command asks. Touches the kubeconfig and the API server.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource};
use std::path::PathBuf;

/// Which object.
#[derive(clap::Args)]
#[group(id = "object")]
pub(crate) struct Args {
    /// Name of the object.
    pub(crate) name: String,
    /// Its namespace; without it that of the kubeconfig's context.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Kubeconfig file; without it the one that kubectl uses.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
}

impl Args {
    /// A client, and the object's namespace.
    async fn reach(&self) -> anyhow::Result<(Client, String)> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok((Client::try_from(config)?, namespace))
    }

    /// Objects of a kind in the object's namespace.
    pub(crate) async fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> anyhow::Result<Api<K>> {
        let (client, namespace) = self.reach().await?;
        Ok(Api::namespaced(client, &namespace))
    }
}

/// Waits for a future on this thread.
pub(crate) fn blocking<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
