//! The options of Apache Flink.

use std::collections::BTreeSet;

use clap::Args;

use super::{Cluster, FLINK, Flink};
use crate::credential::{Credential, Credentials, Directory, of_files};
use crate::options::problems::{non_empty, shown};
use crate::options::{Endpoint, Problems};
use crate::providers::{self, Probe, Probing};
use crate::rpc::Error;
use crate::rpc::validate::{WORKSPACE, is_workspace};
use crate::upstream::Upstream;

const CLUSTER: &str = "--flink-cluster";
const AUTHORIZATION: &str = "--flink-authorization-file";

/// The options of Apache Flink.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Apache Flink")]
pub struct Options {
    /// Cluster, such as prod=http://host:8081
    ///
    /// A name for requests, and the URL of its REST API; can be repeated
    #[arg(long, value_name = "NAME=URL")]
    flink_cluster: Vec<String>,
    /// File with the value of the Authorization header, for clusters behind a proxy; re-read on
    /// change. With it, http:// URLs need --allow-insecure-endpoints
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    flink_authorization_file: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Setup {
    /// Each with its name.
    clusters: Vec<providers::Setup>,
}

impl Setup {
    /// Clusters with their names, and the authorization for all of them.
    pub fn new(
        clusters: impl IntoIterator<Item = (String, Endpoint)>,
        credentials: &Credentials,
    ) -> Self {
        let setup = |(name, endpoint)| {
            let mut setup = providers::Setup::new(&FLINK, endpoint, credentials.clone());
            setup.cluster = Some(name);
            setup
        };
        Self { clusters: clusters.into_iter().map(setup).collect() }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &providers::Setup> {
        self.clusters.iter()
    }

    pub(crate) fn probes(
        &self,
        upstream: impl Fn(&providers::Setup) -> Result<Upstream, Error>,
    ) -> Result<Vec<Probing>, Error> {
        let each = self.clusters.iter().map(|setup| {
            let cluster: Box<dyn Probe> = Box::new(Cluster::new(setup, &upstream)?);
            Ok((setup.clone(), cluster))
        });
        each.collect()
    }

    pub(crate) fn handler(
        &self,
        upstream: impl Fn(&providers::Setup) -> Result<Upstream, Error>,
    ) -> Result<Flink, Error> {
        let clusters = self.clusters.iter().map(|setup| Cluster::new(setup, &upstream));
        Ok(Flink { clusters: clusters.collect::<Result<_, Error>>()? })
    }
}

impl Cluster {
    fn new(
        setup: &providers::Setup,
        upstream: impl Fn(&providers::Setup) -> Result<Upstream, Error>,
    ) -> Result<Self, Error> {
        let name = setup.cluster.clone().unwrap_or_default();
        Ok(Self { name, upstream: upstream(setup)? })
    }
}

impl Options {
    /// The configuration; none if no cluster is configured.
    pub(crate) fn setup(&self, insecure: bool, problems: &mut Problems<'_>) -> Option<Setup> {
        let clusters = self.flink_cluster.iter().flat_map(|texts| texts.split(','));
        let clusters: Vec<_> = clusters.map(str::trim).filter(|text| !text.is_empty()).collect();
        let file = non_empty(&self.flink_authorization_file);
        if clusters.is_empty() {
            problems.without_effect(&[(AUTHORIZATION, file)], &format!("without {CLUSTER}"));
            return None;
        }
        let credentials = match file {
            Some(path) => of_files(problems, AUTHORIZATION, Directory::of_authorization(path))
                .map(|credentials| credentials.of_source(&format!("file:{path}"))),
            None => Some(Credentials::fixed(Credential::none())),
        };
        // Without a secret nothing is at risk that Flink's own clients do not risk.
        let insecure = insecure || file.is_none();
        let mut names = BTreeSet::new();
        let clusters: Option<Vec<_>> = clusters
            .into_iter()
            .map(|text| {
                let parts = text.split_once('=').filter(|(name, _)| is_workspace(name));
                let Some((name, url)) = parts else {
                    let why = "is not NAME=URL, such as prod=http://flink-jobmanager:8081; NAME";
                    problems.report(CLUSTER, format_args!("{} {why} {WORKSPACE}", shown(text)));
                    return None;
                };
                if !names.insert(name) {
                    problems.report(CLUSTER, format_args!("the name {name:?} is there twice"));
                }
                let endpoint = Endpoint::parse(url, insecure).map_err(|why| {
                    let url = shown(url);
                    problems.report(CLUSTER, format_args!("of cluster {name:?}, {url} {why}"));
                });
                Some((name.to_owned(), endpoint.ok()?))
            })
            // All of them, so that all problems are reported.
            .collect::<Vec<_>>()
            .into_iter()
            .collect();
        Some(Setup::new(clusters?, &credentials?))
    }
}
