//! What an operator may set about running policies: limits of one call, and the engine as a whole.
//! Touches nothing. Read by every other module of this crate; filled by the operator from flags and
//! from `spec.limits` of a WasmPolicy.

use crate::compiler::Compiler;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// Bounds of one call of a policy. Each call runs in an instance of its own, so nothing adds up from
/// one call to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel: about one unit per executed instruction, deterministic. Default 50 million, which is 20
    /// to 80 ms of computing; the built-in rules need some ten thousand units.
    pub fuel: u64,
    /// Time that the call may compute, instantiation included: processor time, so that a busy machine
    /// fails no policy; and at most ten times as long on the clock. Default 50 ms. Looked at in ticks
    /// of 1 ms, where the guest branches backwards or enters a function.
    pub deadline: Duration,
    /// Bytes of linear memory, all memories of the component together. Default 16 MiB.
    pub memory_bytes: u64,
    /// Elements of all tables of the component together. Default 20,000.
    pub table_elements: u32,
    /// Core instances that the component consists of. Default 64; a compiled Rust or C policy has one
    /// to three, an interpreter with its libraries some twenty.
    pub instances: u32,
    /// Linear memories of the component. Default 2.
    pub memories: u32,
    /// Tables of the component. Default 8.
    pub tables: u32,
    /// Bytes of one result: rationale and state together. Default 64 KiB.
    pub result_bytes: u64,
    /// Bytes of the state that a policy hands to its next decision. Default 64 KiB, and in any case
    /// part of `result_bytes`.
    pub state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 50_000_000,
            deadline: Duration::from_millis(50),
            memory_bytes: 16 * MIB,
            table_elements: 20_000,
            instances: 64,
            memories: 2,
            tables: 8,
            result_bytes: 64 * KIB,
            state_bytes: 64 * KIB,
        }
    }
}

impl Limits {
    /// The highest limits that an operator grants when nobody set a ceiling: room for a language
    /// with a runtime of its own (JavaScript, Python), and an end to every call within a second.
    #[must_use]
    pub fn default_ceiling() -> Self {
        Self {
            fuel: 2_000_000_000,
            deadline: Duration::from_secs(1),
            memory_bytes: 128 * MIB,
            table_elements: 100_000,
            instances: 64,
            memories: 2,
            tables: 8,
            result_bytes: 256 * KIB,
            state_bytes: MIB,
        }
    }

    /// These limits, none of them above `ceiling`.
    #[must_use]
    pub fn capped_by(&self, ceiling: &Self) -> Self {
        Self {
            fuel: self.fuel.min(ceiling.fuel),
            deadline: self.deadline.min(ceiling.deadline),
            memory_bytes: self.memory_bytes.min(ceiling.memory_bytes),
            table_elements: self.table_elements.min(ceiling.table_elements),
            instances: self.instances.min(ceiling.instances),
            memories: self.memories.min(ceiling.memories),
            tables: self.tables.min(ceiling.tables),
            result_bytes: self.result_bytes.min(ceiling.result_bytes),
            state_bytes: self.state_bytes.min(ceiling.state_bytes),
        }
    }
}

/// Where compiled code is kept between two starts of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The folder. Made with mode 0700 when it is missing. It holds machine code that the operator
    /// will run, so nobody else may be able to write to it: a folder that belongs to another user,
    /// or that group or others may write to, is refused.
    pub folder: PathBuf,
    /// Bytes that the folder may hold; the files that were used longest ago go first.
    pub max_bytes: u64,
}

/// How the engine is set up. One per process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Calls that may run at one time; more wait for a free place. Each place that is in use keeps up
    /// to 2 MiB resident. Default 64.
    pub concurrent_instances: u32,
    /// No policy gets more than this, whatever its object asks for.
    pub ceiling: Limits,
    /// Bytes of a component, as shipped and also unpacked. Default 32 MiB.
    pub max_component_bytes: u64,
    /// Functions in all modules of a component together. Default 100,000.
    pub max_functions: u32,
    /// Bytes of the body of one function. Default 512 KiB: the largest of CPython, which sets up its data
    /// without a branch, has 427 KB; what grows faster than the size is counted in `max_function_work`.
    pub max_function_bytes: u32,
    /// Values that the compiler has to follow in one function: about one for each instruction, more for
    /// calls and branches that carry several, one for each local variable wherever control flow meets, and
    /// the square of the number of branches. What takes time and memory beyond the size of a function.
    /// Default 5 million.
    pub max_function_work: u64,
    /// The same in all functions together. Default 200 million.
    pub max_work: u64,
    /// Types, aliases, functions and instances of the component, those of components that it
    /// instantiates inside counted at each instantiation. Default 100,000.
    pub max_items: u64,
    /// How long a load waits for each of its stages. Default 60 s.
    pub stage_timeout: Duration,
    /// Who compiles what is neither in use nor on disk. Default: this process.
    pub compiler: Compiler,
    /// How long a child process may compile one component. Default 120 s.
    pub compile_timeout: Duration,
    /// Bytes of memory that a child process may take for one component, beyond what its program has anyway.
    /// Default 1.25 GiB: address space, of which half becomes resident.
    pub compile_memory_bytes: u64,
    /// Bytes of machine code that are taken from a child process. Default 256 MiB.
    pub max_compiled_bytes: u64,
    /// Components that are compiled at one time. Default one for each two cores, at least one and
    /// at most four.
    pub concurrent_compilations: usize,
    /// Components that wait for the compiler at most, those of all namespaces together. Default 256.
    pub queued_compilations: usize,
    /// Whether one component is compiled by all cores. Default true: on two cores a rule of 110 KB takes
    /// 235 ms instead of 435 ms, and a swap waits for it; decisions share the cores with it meanwhile.
    pub parallel_compilation: bool,
    /// Folder for compiled code. Default none: each start compiles again.
    pub cache: Option<CacheConfig>,
    /// How many recent inputs a slot keeps for probing a new policy. Default 16.
    pub probe_inputs: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            concurrent_instances: 64,
            ceiling: Limits::default_ceiling(),
            max_component_bytes: 32 * MIB,
            max_functions: 100_000,
            max_function_bytes: 512 << 10,
            max_function_work: 5_000_000,
            max_work: 200_000_000,
            max_items: 100_000,
            stage_timeout: Duration::from_secs(60),
            compiler: Compiler::default(),
            compile_timeout: Duration::from_secs(120),
            compile_memory_bytes: 1280 * MIB,
            max_compiled_bytes: 256 * MIB,
            concurrent_compilations: std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4)),
            queued_compilations: 256,
            parallel_compilation: true,
            cache: None,
            probe_inputs: 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_lowers_what_is_above_it_and_nothing_else() {
        let asked = Limits { fuel: u64::MAX, state_bytes: 1, ..Limits::default() };
        let got = asked.capped_by(&Limits::default_ceiling());
        assert_eq!(got, Limits { fuel: 2_000_000_000, state_bytes: 1, ..Limits::default() });
    }
}
