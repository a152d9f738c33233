//! From settings to the operator's own code.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_filters::authn::custom::{CustomAuthenticator, CustomChain};
use portcullis_filters::authn::failures::FailureThrottle;
use portcullis_filters::directory::Directory;
use tokio::runtime::Handle;

use crate::background::custom::hook::Hook;
use crate::background::custom::python::PythonPool;
use crate::config::{CustomAuthBy, CustomAuthSettings, HookSettings, PythonSettings};
use crate::telemetry::CustomMetrics;

/// What of custom authentication outlives a reload: processes whose settings stay the same, and a hook's connections.
#[derive(Clone)]
pub struct CustomMakings {
    control: Handle,
    metrics: Arc<CustomMetrics>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
enum Running {
    #[default]
    Nothing,
    Python(Arc<PythonPool>),
    Hook(HookSettings, Arc<Hook>),
}

impl CustomMakings {
    /// Processes and questions run on `control`.
    #[must_use]
    pub fn new(control: Handle, metrics: Arc<CustomMetrics>) -> Self {
        Self { control, metrics, running: Arc::default() }
    }

    /// Custom authentication under these settings; `None`: there is none.
    pub(super) fn chain(
        &self,
        settings: Option<&CustomAuthSettings>,
        directory: &Arc<dyn Directory>,
        failures: &Arc<FailureThrottle>,
    ) -> Option<CustomChain> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(settings) = settings else {
            *running = Running::Nothing;
            return None;
        };
        let authenticator: Arc<dyn CustomAuthenticator> = match &settings.by {
            CustomAuthBy::Python(python) => self.pool(python, &mut running),
            CustomAuthBy::Hook(hook) => self.hook(hook, &mut running),
        };
        Some(CustomChain::new(authenticator, settings.chain.clone(), Arc::clone(directory), Arc::clone(failures)))
    }

    /// The file of the function may have changed, though its settings did not.
    pub fn renew(&self) {
        if let Running::Python(pool) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            pool.renew();
        }
    }

    fn pool(&self, settings: &PythonSettings, running: &mut Running) -> Arc<PythonPool> {
        if let Running::Python(pool) = running
            && pool.settings() == settings
        {
            return Arc::clone(pool);
        }
        let pool = PythonPool::start(settings.clone(), Arc::clone(&self.metrics), &self.control);
        *running = Running::Python(Arc::clone(&pool));
        pool
    }

    fn hook(&self, settings: &HookSettings, running: &mut Running) -> Arc<Hook> {
        if let Running::Hook(known, hook) = running
            && known == settings
        {
            return Arc::clone(hook);
        }
        let hook = Arc::new(Hook::new(settings.clone(), self.control.clone()));
        *running = Running::Hook(settings.clone(), Arc::clone(&hook));
        hook
    }
}
