//! The Wasm engine's settings: what may run at all, deterministically, and how instances are pooled.
//! Touches memory of the process (it reserves address space) and starts the thread of
//! [`crate::ticker`]. Called once, by [`crate::engine`].

use crate::admission::Admission;
use crate::call::Runtime;
use crate::config::EngineConfig;
use crate::ticker::Ticker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmFeatures};

/// Stack of a guest. Threads that decide need this much and some more; the default of 2 MiB does.
const MAX_WASM_STACK: usize = 512 << 10;

/// Memory of an instance that stays resident for the next one, so that a fresh instance costs no
/// page faults. More than this is given back to the system after the call.
const KEEP_RESIDENT: usize = 2 << 20;

/// Data of a module that lies far apart is laid out as one image up to this size, so that an instance
/// is a mapping; beyond, only where at least half of the image is data. Otherwise a few bytes at both
/// ends of a large memory would become an image as large as that, in memory as long as the policy runs.
const SPARSE_IMAGE: u64 = 1 << 20;

/// The engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The settings do not fit this machine or each other.
    #[error("the Wasm engine cannot be set up: {0}")]
    Wasm(String),
    /// The folder for compiled code cannot be used.
    #[error("the cache of compiled policies cannot be used: {0}")]
    Cache(#[from] crate::cache::CacheError),
    /// No thread could be started.
    #[error("the thread that watches deadlines cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

pub(crate) fn start(config: &EngineConfig) -> Result<Runtime, EngineError> {
    let mut settings = compile_only(config);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    let engine = wasmtime::Engine::new(&settings).map_err(|error| EngineError::Wasm(format!("{error:#}")))?;
    let ticker = Ticker::start(&engine)?;
    Ok(Runtime { engine, ticker, admission: Admission::new(config.concurrent_instances.max(1)) })
}

/// Everything that machine code depends on. Without the pool, which only instances need: a process that
/// compiles reserves no address space for them.
pub(crate) fn compile_only(config: &EngineConfig) -> Config {
    let mut settings = Config::new();
    settings
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(config.parallel_compilation)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(SPARSE_IMAGE)
        .max_wasm_stack(MAX_WASM_STACK)
        .consume_fuel(true)
        .epoch_interruption(true);
    deterministic(&mut settings);
    settings
}

/// The same bytes in give the same bytes and the same fuel out, on every machine: no proposal whose
/// results the specification leaves open, and none that a pure function has no use for.
fn deterministic(settings: &mut Config) {
    settings
        .cranelift_nan_canonicalization(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true)
        .concurrency_support(false)
        .shared_memory(false)
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_stack_switching(false)
        .wasm_features(WasmFeatures::EXCEPTIONS, false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .gc_support(false);
}

fn pool(config: &EngineConfig) -> PoolingAllocationConfig {
    let (places, most) = (config.concurrent_instances.max(1), &config.ceiling);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places)
        .total_core_instances(places.saturating_mul(most.instances))
        .total_memories(places.saturating_mul(most.memories))
        .total_tables(places.saturating_mul(most.tables))
        .total_gc_heaps(1)
        .max_core_instances_per_component(most.instances)
        .max_memories_per_component(most.memories)
        .max_tables_per_component(most.tables)
        .max_tables_per_module(most.tables)
        .max_memories_per_module(1)
        .max_memory_size(usize::try_from(most.memory_bytes).unwrap_or(usize::MAX))
        .table_elements(most.table_elements as usize)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(places)
        // Linux 6.7 and newer say which pages were touched, so only those are put back.
        .pagemap_scan(Enabled::Auto);
    pool
}
