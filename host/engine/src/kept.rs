//! An instance that is kept from one call to the next, to measure what a fresh one costs and how much
//! memory a call takes. Touches the Wasm engine. Called by `weir policy check` and `bench`; decisions
//! are never made this way, because what an earlier call left in memory would take part in them.

use crate::abi;
use crate::call::{self, Data};
use crate::meter::Meter;
use crate::policy::{Policy, allowance};
use crate::wasi::{MAX_HANDLES, World};
use std::fmt;
use wasmtime::Store;
use wasmtime::component::Instance;
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::{Failure, Invocation, Outcome, ScalingInput};

/// A policy's instance that stays.
pub struct Kept<'a> {
    policy: &'a Policy,
    store: Store<Data>,
    instance: Instance,
}

impl Policy {
    /// Makes an instance and keeps it. All limits of the policy hold for each of its calls, but the one
    /// on memory, which holds for all of them together.
    ///
    /// # Errors
    /// The instance cannot be made under the policy's limits.
    pub fn keep(&self) -> Result<Kept<'_>, Failure> {
        let world = (!self.compiled.imports.is_empty()).then(|| Box::new(World::new(UnixMs(0), &Digest::of(b""))));
        let mut store = Store::new(&self.runtime.engine, Data { meter: Meter::new(&self.limits), world });
        store.limiter(|data| &mut data.meter);
        store.set_max_component_handles(MAX_HANDLES);
        let made = arm(&mut store, self).and_then(|()| self.compiled.pre.instantiate(&mut store));
        match made {
            Ok(instance) => Ok(Kept { policy: self, store, instance }),
            Err(error) => Err(call::failure(&error, &store, &self.limits)),
        }
    }
}

impl Kept<'_> {
    /// One call in this instance. After a failure every further call fails too.
    pub fn decide(&mut self, input: &ScalingInput) -> Invocation {
        let columns = abi::columns(input);
        let params: abi::DecideParams<'_> = (abi::input(input, &columns),);
        let _ticking = self.policy.runtime.ticker.tick();
        let called = arm(&mut self.store, self.policy).and_then(|()| {
            let function = self.instance.get_typed_func::<abi::DecideParams<'_>, abi::DecideResult>(&mut self.store, &self.policy.compiled.decide)?;
            function.call(&mut self.store, params)
        });
        let left = self.store.get_fuel().unwrap_or(0);
        let outcome = match called {
            Ok(result) => self.policy.judge(Ok(result)),
            Err(error) => Outcome::Failure(call::failure(&error, &self.store, &self.policy.limits)),
        };
        let output = self.store.data().world.as_ref().map(|world| world.output.text()).unwrap_or_default();
        Invocation { outcome, fuel: self.policy.limits.fuel.saturating_sub(left), output }
    }

    /// Bytes of linear memory that the instance has now, all its memories together. Memory never
    /// shrinks, so after the first call it is what a call takes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().meter.memory() as u64
    }
}

/// Fuel, deadline and room for the result of one call.
fn arm(store: &mut Store<Data>, policy: &Policy) -> wasmtime::Result<()> {
    store.set_hostcall_fuel(usize::try_from(allowance(&policy.limits)).unwrap_or(usize::MAX));
    call::watch_deadline(store, policy.limits.deadline);
    store.set_fuel(policy.limits.fuel)
}

impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("policy", self.policy).finish_non_exhaustive()
    }
}
