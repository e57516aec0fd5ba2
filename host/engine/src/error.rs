//! Why a policy was not taken into use: one error per stage of loading, each with a sentence for the
//! person who can mend it and a stable word for conditions and metrics. Touches nothing.

use crate::kind::PolicyKind;
use crate::source::SourceError;
use crate::verify::VerifyError;
use std::time::Duration;
use weir_core::ids::Digest;

/// A policy that was refused. Its `Display` says what is wrong and what to do; [`Self::reason`] is the
/// stable word. Whatever was running before goes on running.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Its bytes could not be got.
    #[error(transparent)]
    Source(#[from] SourceError),

    /// Larger than the operator allows, as shipped or unpacked.
    #[error("the component has more than {limit} bytes {}: build it smaller (release profile, opt-level \"s\", strip), or raise the operator's ceiling", if *unpacked { "once unpacked" } else { "as shipped" })]
    TooLarge {
        /// The ceiling in bytes.
        limit: u64,
        /// True when only the unpacked bytes passed it.
        unpacked: bool,
    },

    /// Starts like gzip or zstd and is not.
    #[error("the {format} data cannot be unpacked ({detail}): ship the component again, it is cut off or damaged")]
    UnpackFailed {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the decoder says.
        detail: String,
    },

    /// Other bytes than `spec.digest` names.
    #[error("the component's digest is {actual}, and spec.digest wants {wanted}{}: ship the bytes that were meant, or correct spec.digest", if *shipped_matches { " (which is the digest of the compressed file; write the digest of the component before compression)" } else { "" })]
    DigestMismatch {
        /// From the spec.
        wanted: Digest,
        /// Of the component, uncompressed.
        actual: Digest,
        /// True when `wanted` is the digest of the compressed bytes.
        shipped_matches: bool,
    },

    /// Not signed as it has to be.
    #[error(transparent)]
    Unverified(#[from] VerifyError),

    /// No WebAssembly at all.
    #[error("this is not WebAssembly: it looks like {looks_like}; ship the .wasm file of a component, as it is or packed with gzip or zstd")]
    NotWasm {
        /// For example `an HTML page`.
        looks_like: String,
    },

    /// Starts like a component and is broken.
    #[error("the component is damaged or cut off at byte {offset} ({detail}): ship it again")]
    Malformed {
        /// Position in the uncompressed bytes.
        offset: u64,
        /// What the parser says.
        detail: String,
    },

    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component: make one of it with `wasm-tools component new FILE.wasm -o FILE.component.wasm` (the module must have been built with wit-bindgen for a world of weir:policy, such as scaling-policy)"
    )]
    CoreModule,

    /// Wants something from the host.
    #[error("the component imports {}: a policy imports nothing, everything it may know is an argument of `decide`{}", names(imports), hint(imports))]
    HasImports {
        /// All imports, in the component's order.
        imports: Vec<String>,
    },

    /// Wants something of WASI that the virtual world does not have.
    #[error(
        "the component imports {}: spec.wasi: Deterministic gives clocks, random numbers, standard streams, an empty environment, no files and no sockets of WASI 0.2, and nothing else; leave out what needs more",
        names(imports)
    )]
    UnsupportedImports {
        /// What it wants in vain, in the component's order.
        imports: Vec<String>,
    },

    /// Imports something under a name of WASI with other types.
    #[error("the component imports functions under the names of WASI that have other types ({detail}): build it with a toolchain for WASI 0.2")]
    WrongImportTypes {
        /// Where the types part.
        detail: String,
    },

    /// A component of another world.
    #[error("the component is not a {kind} policy: it does not export {}{}; build it for the world {}", names(missing), has(exports), kind.world())]
    WrongWorld {
        /// What it should be.
        kind: PolicyKind,
        /// What it should export.
        missing: Vec<String>,
        /// What it exports.
        exports: Vec<String>,
    },

    /// The right world in a version that this host does not speak.
    #[error("the component is built for {found}, and this Weir speaks {supported}: build it with the SDK of that version")]
    WrongVersion {
        /// For example `weir:policy/scaling@0.2.0`.
        found: String,
        /// For example `weir:policy/scaling@0.1.0`.
        supported: &'static str,
    },

    /// The right names with other types.
    #[error("the component's `{function}` has another type than the contract says ({detail}): build it against the wit/ of this Weir")]
    WrongTypes {
        /// `describe` or `decide`.
        function: &'static str,
        /// Where the types part.
        detail: String,
    },

    /// Would take too long to compile, or too much of the pool.
    #[error("the component is too complex: {0}")]
    TooComplex(String),

    /// Wasmtime refuses it.
    #[error("the component does not compile: {0}")]
    CompileFailed(String),

    /// The compiler took too long, and was ended.
    #[error("compiling the component took longer than {} s, and was ended: split its largest functions, build it smaller, or raise the operator's --compile-timeout", after.as_secs())]
    CompileTimedOut {
        /// How long it had.
        after: Duration,
    },

    /// The compiler wanted more memory than it may have.
    #[error("compiling the component takes more than {} MiB of memory: split its largest functions, build it smaller, or raise the operator's --compile-memory", limit >> 20)]
    CompileOutOfMemory {
        /// Bytes that it had.
        limit: u64,
    },

    /// The compiler came to an end without a result.
    #[error(
        "the compiler gave up on the component ({0}): components inside it that call each other are not supported; if there are none, report it together with the component"
    )]
    CompilerCrashed(String),

    /// Somebody ended the compiler, or it could not be started. May pass by itself.
    #[error(
        "the compiler was not left to finish ({0}), and is started again later: when the kernel ends it, the pod needs more memory, or the operator a smaller --compile-memory"
    )]
    CompilerKilled(String),

    /// Too many wait for the compiler. Passes by itself.
    #[error("{waiting} modules wait for the compiler already, and this one has to be tried again later: ship fewer new modules at once")]
    CompileQueueFull {
        /// How many may wait.
        waiting: usize,
    },

    /// A stage did not end in time.
    #[error("{stage} the component took longer than {} s: build it smaller, or raise the operator's timeout", after.as_secs())]
    TimedOut {
        /// For example `compiling`.
        stage: &'static str,
        /// How long the load waited.
        after: Duration,
    },

    /// The call of `describe` failed.
    #[error("`describe` failed: {0}")]
    DescribeFailed(String),

    /// `describe` says something that cannot be used.
    #[error("`describe` says something that cannot be used: {0}")]
    InvalidDescription(String),

    /// Params that do not fit the policy's schema.
    #[error("spec.params does not fit the policy's schema: {}", problems.join("; "))]
    InvalidParams {
        /// At most five, each a JSON pointer and what is wrong there.
        problems: Vec<String>,
    },

    /// It failed on inputs that were seen of late.
    #[error("the policy failed on {failed} of {tried} recent inputs; on {object}: {detail}")]
    ProbeFailed {
        /// How many inputs failed.
        failed: usize,
        /// How many were tried.
        tried: usize,
        /// The first object that it failed on, `namespace/name`.
        object: String,
        /// How: the failure's kind and sentence.
        detail: String,
    },

    /// A fault of the host.
    #[error("the policy could not be loaded for a reason inside the operator: {0}")]
    Internal(String),
}

impl LoadError {
    /// The reasons for which a module has no machine code.
    pub const OF_COMPILER: [&str; 6] = ["CompileFailed", "CompileTimedOut", "CompileOutOfMemory", "CompilerCrashed", "CompilerKilled", "CompileQueueFull"];

    /// Whether the same module may be taken into use when it is tried again, without anybody changing anything.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::CompilerKilled(_) | Self::CompileQueueFull { .. })
    }

    /// The stable CamelCase word for conditions, Events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Source(source) => source.reason(),
            Self::TooLarge { .. } => "TooLarge",
            Self::UnpackFailed { .. } => "UnpackFailed",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::Unverified(error) => error.reason(),
            Self::NotWasm { .. } => "NotWasm",
            Self::Malformed { .. } => "Malformed",
            Self::CoreModule => "CoreModule",
            Self::HasImports { .. } => "HasImports",
            Self::UnsupportedImports { .. } => "UnsupportedImports",
            Self::WrongImportTypes { .. } => "WrongTypes",
            Self::WrongWorld { .. } => "WrongWorld",
            Self::WrongVersion { .. } => "WrongVersion",
            Self::WrongTypes { .. } => "WrongTypes",
            Self::TooComplex(_) => "TooComplex",
            Self::CompileFailed(_) => "CompileFailed",
            Self::CompileTimedOut { .. } => "CompileTimedOut",
            Self::CompileOutOfMemory { .. } => "CompileOutOfMemory",
            Self::CompilerCrashed(_) => "CompilerCrashed",
            Self::CompilerKilled(_) => "CompilerKilled",
            Self::CompileQueueFull { .. } => "CompileQueueFull",
            Self::TimedOut { .. } => "LoadTimedOut",
            Self::DescribeFailed(_) => "DescribeFailed",
            Self::InvalidDescription(_) => "InvalidDescription",
            Self::InvalidParams { .. } => "InvalidParams",
            Self::ProbeFailed { .. } => "ProbeFailed",
            Self::Internal(_) => "Internal",
        }
    }
}

/// Names in backquotes, at most twelve of them.
fn names(all: &[String]) -> String {
    let mut text = all.iter().take(12).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if all.len() > 12 {
        text.push_str(&format!(" and {} more", all.len() - 12));
    }
    text
}

fn has(exports: &[String]) -> String {
    if exports.is_empty() { " (it exports nothing)".to_owned() } else { format!(" (it exports {})", names(exports)) }
}

fn hint(imports: &[String]) -> &'static str {
    if imports.iter().all(|name| crate::wasi::provides(name)) {
        "; the wasi: imports come from the toolchain: set spec.wasi: Deterministic, which gives them a virtual world with no outside, or build without them (Rust for wasm32-unknown-unknown, JavaScript with `jco componentize --disable all`, Python with `componentize-py --stub-wasi`)"
    } else if imports.iter().any(|name| name.starts_with("wasi:")) {
        "; the wasi: imports come from the toolchain: build Rust for wasm32-unknown-unknown instead of wasm32-wasip2, JavaScript with `jco componentize --disable all`, Python with `componentize-py --stub-wasi`"
    } else {
        "; remove what needs them"
    }
}
