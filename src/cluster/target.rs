//! Which server this is as far as DDL goes: its maker and version, and what its configuration switches off. What follows
//! from that is left to `ddl`.

use super::Cluster;
use crate::ddl::servers::{Feature, Target, Vendor};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

impl Cluster {
    /// The server as a target of DDL, for this role; `None` if there is no login.
    ///
    /// # Errors
    /// `Error` if it tells a release that is none.
    pub async fn target(&self, role: Option<&str>) -> Result<Target> {
        // ScyllaDB tells an old Cassandra as its release; only it has this table (scylla-cqlsh asks it likewise).
        let scylla = self.read::<(String,)>("SELECT version FROM system.versions WHERE key = 'local'").await;
        let (vendor, release) = match scylla.ok().and_then(|rows| rows.into_iter().next()) {
            Some((version,)) => (Vendor::Scylla, version),
            None => (Vendor::Cassandra, self.version().to_owned()),
        };
        let mut target = Target::of(vendor, &release).ok_or_else(|| {
            Error::failed(format!("the server tells {release:?} as its release, which is none"))
                .hint("say which server it is with --for, as in --for cassandra-4.1")
        })?;
        let settings = self.settings().await;
        let off = |name: &str| settings.get(name).is_some_and(|value| value == "false");
        let switched = Feature::SETTINGS.iter().filter(|(name, _)| off(name));
        target.off.extend(switched.map(|(_, feature)| *feature));
        if self.passes_guardrails(role).await {
            target.off.retain(|feature| !feature.is_guardrail());
        }
        Ok(target)
    }

    /// Guardrails are not for superusers, nor for anybody where there is no login (measured on 4.1.10).
    async fn passes_guardrails(&self, role: Option<&str>) -> bool {
        match role {
            None => true,
            Some(role) => self.is_superuser(role).await == Some(true),
        }
    }

    /// The settings of the node that was asked, those that have a value. A server that shows none (Cassandra before 4.0,
    /// a role that may not look) has none here: then what it refuses is found out when it does.
    pub async fn settings(&self) -> BTreeMap<String, String> {
        let rows =
            self.read::<(String, Option<String>)>("SELECT name, value FROM system_views.settings").await;
        rows.unwrap_or_default().into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
