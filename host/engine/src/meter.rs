//! Counts what one call takes of memory and tables, and says no at the limit. Touches nothing but its
//! own numbers. Lives in the store of one call, asked by Wasmtime at every growth.

use crate::config::Limits;
use wasmtime::ResourceLimiter;

/// The account of one call.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: usize,
    memory: usize,
    table_limit: usize,
    tables: usize,
    instance_limit: usize,
    memory_count_limit: usize,
    table_count_limit: usize,
    denied: Option<Denied>,
}

/// The first growth that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// This many bytes of linear memory were wanted.
    Memory(usize),
    /// This many table elements were wanted.
    Table(usize),
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            memory: 0,
            table_limit: limits.table_elements as usize,
            tables: 0,
            instance_limit: limits.instances as usize,
            memory_count_limit: limits.memories as usize,
            table_count_limit: limits.tables as usize,
            denied: None,
        }
    }

    /// Bytes of linear memory that were granted, all memories together.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }

    /// What was denied first, if anything was.
    pub(crate) const fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn deny(&mut self, what: Denied) {
        self.denied.get_or_insert(what);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        // A growth beyond the maximum that the module itself declares fails without anybody's fault.
        if maximum.is_some_and(|maximum| desired > maximum) && total <= self.memory_limit {
            return Ok(false);
        }
        if total > self.memory_limit {
            self.deny(Denied::Memory(total));
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.deny(Denied::Memory(self.memory));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_sub(current).saturating_add(desired);
        if maximum.is_some_and(|maximum| desired > maximum) && total <= self.table_limit {
            return Ok(false);
        }
        if total > self.table_limit {
            self.deny(Denied::Table(total));
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.deny(Denied::Table(self.tables));
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instance_limit
    }

    #[expect(clippy::misnamed_getters, reason = "the trait asks for the limit, `self.tables` counts")]
    fn tables(&self) -> usize {
        self.table_count_limit
    }

    fn memories(&self) -> usize {
        self.memory_count_limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_memories_share_one_limit() {
        let mut meter = Meter::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(!meter.memory_growing(40, 41, None).unwrap());
        assert_eq!(meter.denied(), Some(Denied::Memory(101)));
    }
}
