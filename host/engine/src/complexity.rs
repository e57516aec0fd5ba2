//! How much work compiling a component would be, from one walk over its instructions, so that what
//! would take minutes or gigabytes is refused before the compiler sees it. Touches nothing. Part of
//! [`crate::inspect`].
//!
//! Five things make a compiler slow beyond what the size of a component says, and each is counted:
//! - **values**: one instruction may make thousands (a call with a thousand results takes two bytes);
//! - **joins**: where control flow meets, each local variable that is in use may become a value of its
//!   own, so a function costs the product of the two;
//! - **branches**: where control flow parts and meets, the compiler looks at what lies before, so a function
//!   costs the square of their number;
//! - **loops** inside each other: each costs the square of the number of those around it;
//! - **items**: a component that instantiates another one twice, which instantiates a third one twice,
//!   and so on, is small, and doubles at each level when it is linked.

use crate::config::EngineConfig;
use crate::error::LoadError;
use wasmparser::{
    BinaryReaderError, BlockType, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentTypeRef, CompositeInnerType, FunctionBody, Operator,
    Payload, TypeRef,
};

/// Components and modules inside each other; toolchains nest two or three deep.
const MAX_DEPTH: usize = 32;

/// Branches whose square counts as one value. 20,000 in one function took wasmtime 48 five seconds, 5,000
/// half a second; interpreters (CPython, SpiderMonkey) have up to 9,000 in one.
const BRANCHES_SQUARED: u64 = 100;

/// Likewise of the number of loops around a loop: 2,000 loops inside each other, each with a branch back, took
/// 22 s, 900 took 2.3 s, 3,000 in 300 took 2.9 s. Blocks inside each other cost no more than their branches.
const LOOPS_SQUARED: u64 = 120;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Complexity {
    levels: Vec<Level>,
    /// Items of the largest inner component that is complete: what instantiating any of them may cost.
    largest_inner: u64,
    module: Module,
    pub(crate) modules: u32,
    pub(crate) functions: u32,
    pub(crate) memories: u32,
    pub(crate) largest: u32,
    /// Of the costliest function.
    pub(crate) function_work: u64,
    /// Of all functions together.
    pub(crate) work: u64,
    /// Of the whole component, what it instantiates included.
    pub(crate) items: u64,
}

#[derive(Debug, Default)]
struct Level {
    component: bool,
    items: u64,
}

/// What the instructions of the module at hand refer to: how many values go in and come out.
#[derive(Debug, Default)]
struct Module {
    types: Vec<Arity>,
    functions: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Arity {
    params: u32,
    results: u32,
}

impl Arity {
    fn values(self) -> u64 {
        u64::from(self.params) + u64::from(self.results)
    }
}

impl Complexity {
    /// Depth of the payload that was seen last; 0 is the component itself.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Counts what a payload adds.
    pub(crate) fn see(&mut self, payload: &Payload<'_>) -> Result<(), Problem> {
        match payload {
            Payload::ModuleSection { .. } => {
                self.modules = self.modules.saturating_add(1);
                self.module = Module::default();
                self.enter(false)?;
            }
            Payload::ComponentSection { .. } => self.enter(true)?,
            Payload::End(_) => self.leave(),
            Payload::TypeSection(types) => {
                for group in types.clone() {
                    for ty in group?.into_types() {
                        self.module.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(function) => Arity { params: count(function.params()), results: count(function.results()) },
                            _ => Arity::default(),
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import?.ty {
                        self.module.functions.push(ty);
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions.clone() {
                    self.module.functions.push(ty?);
                }
            }
            Payload::MemorySection(section) => self.memories = self.memories.saturating_add(section.count()),
            Payload::CodeSectionStart { count, .. } => self.functions = self.functions.saturating_add(*count),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.largest = self.largest.max(u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX));
                let work = self.module.work(body)?;
                self.function_work = self.function_work.max(work);
                self.work = self.work.saturating_add(work);
            }
            Payload::InstanceSection(section) => self.add(section.count()),
            Payload::ComponentCanonicalSection(section) => self.add(section.count()),
            Payload::ComponentTypeSection(section) => self.add(section.count()),
            Payload::CoreTypeSection(section) => self.add(section.count()),
            Payload::ComponentExportSection(section) => self.add(section.count()),
            Payload::ComponentImportSection(section) => {
                self.add(section.count());
                for import in section.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Component(_)) {
                        return Err(Problem::TooComplex("components inside it take components as arguments".to_owned()));
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                self.add(section.count());
                for alias in section.clone() {
                    if matches!(alias?, ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. }) {
                        return Err(Problem::TooComplex("instances inside it export components".to_owned()));
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    let items = match instance? {
                        ComponentInstance::Instantiate { args, .. } => self.largest_inner.saturating_add(args.len() as u64),
                        ComponentInstance::FromExports(exports) => exports.len() as u64,
                    };
                    self.grow(items.saturating_add(1));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses what is more than `config` allows.
    pub(crate) fn check(&self, config: &EngineConfig) -> Result<(), LoadError> {
        let modules = config.ceiling.instances;
        let too = |have: u64, most: u64, words: &str| {
            let words = words.replace("{}", &have.to_string());
            if have > most { Err(LoadError::TooComplex(format!("{words}, and {most} is the most that this operator takes"))) } else { Ok(()) }
        };
        too(self.functions.into(), config.max_functions.into(), "it has {} functions")?;
        too(self.largest.into(), config.max_function_bytes.into(), "one of its functions has {} bytes")?;
        too(self.modules.into(), modules.into(), "it holds {} modules")?;
        too(self.memories.into(), config.ceiling.memories.into(), "it defines {} memories")?;
        too(self.items, config.max_items, "it has {} items (types, aliases, functions, instances), what it instantiates inside included")?;
        too(self.function_work, config.max_function_work, "one of its functions makes {} values for the compiler to follow")?;
        too(self.work, config.max_work, "its functions make {} values for the compiler to follow")
    }

    fn enter(&mut self, component: bool) -> Result<(), Problem> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Problem::TooComplex(format!("components are nested more than {MAX_DEPTH} deep inside it")));
        }
        self.grow(1);
        self.levels.push(Level { component, items: 0 });
        Ok(())
    }

    fn leave(&mut self) {
        // The end of the component itself has no level.
        if let Some(level) = self.levels.pop()
            && level.component
        {
            self.largest_inner = self.largest_inner.max(level.items);
        }
    }

    fn add(&mut self, items: u32) {
        self.grow(items.into());
    }

    fn grow(&mut self, items: u64) {
        let sum = self.levels.last_mut().map_or(&mut self.items, |level| &mut level.items);
        *sum = sum.saturating_add(items);
    }
}

impl Module {
    fn arity(&self, ty: u32) -> Arity {
        usize::try_from(ty).ok().and_then(|ty| self.types.get(ty)).copied().unwrap_or_default()
    }

    fn function(&self, function: u32) -> Arity {
        let ty = usize::try_from(function).ok().and_then(|function| self.functions.get(function)).copied();
        ty.map_or_else(Arity::default, |ty| self.arity(ty))
    }

    fn block(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { params: 0, results: 1 },
            BlockType::FuncType(ty) => self.arity(ty),
        }
    }

    /// Values that the compiler has to follow through a function.
    fn work(&self, body: &FunctionBody<'_>) -> Result<u64, BinaryReaderError> {
        let mut flow = Flow::default();
        for instruction in body.get_operators_reader()? {
            match instruction? {
                Operator::LocalGet { local_index } | Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => flow.local(local_index),
                Operator::Block { blockty } | Operator::If { blockty } => flow.enter(self.block(blockty), false),
                Operator::Loop { blockty } => flow.enter(self.block(blockty), true),
                Operator::Else => {
                    flow.part();
                    flow.join(0);
                }
                Operator::End => flow.leave(),
                Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                    flow.part();
                    flow.branch(relative_depth);
                }
                Operator::BrTable { targets } => {
                    flow.part();
                    for target in targets.targets() {
                        flow.branch(target?);
                    }
                    flow.branch(targets.default());
                }
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => flow.values(self.function(function_index).values()),
                Operator::CallIndirect { type_index, .. } | Operator::ReturnCallIndirect { type_index, .. } => flow.values(self.arity(type_index).values()),
                _ => flow.values(1),
            }
        }
        Ok(flow.work())
    }
}

/// One function on the way through its instructions.
#[derive(Debug, Default)]
struct Flow {
    /// Of each open label: values that a branch to it carries, and whether it repeats.
    labels: Vec<(u32, bool)>,
    /// Open labels that repeat.
    loops: u64,
    values: u64,
    joins: u64,
    /// Instructions at which control flow parts or meets; a table of branches is one.
    branches: u64,
    used: Vec<bool>,
    locals: u64,
}

impl Flow {
    fn values(&mut self, values: u64) {
        self.values = self.values.saturating_add(values.saturating_add(1));
    }

    fn join(&mut self, values: u64) {
        self.joins = self.joins.saturating_add(1);
        self.values(values);
    }

    fn part(&mut self) {
        self.branches = self.branches.saturating_add(1);
    }

    fn enter(&mut self, arity: Arity, repeats: bool) {
        self.part();
        self.labels.push((if repeats { arity.params } else { arity.results }, repeats));
        if repeats {
            self.loops = self.loops.saturating_add(1);
            self.values(self.loops.saturating_mul(self.loops) / LOOPS_SQUARED);
        }
        self.join(arity.values());
    }

    fn leave(&mut self) {
        if let Some((_, true)) = self.labels.pop() {
            self.loops = self.loops.saturating_sub(1);
        }
        self.values(0);
    }

    fn branch(&mut self, depth: u32) {
        let place = usize::try_from(depth).ok().and_then(|depth| self.labels.len().checked_sub(depth.checked_add(1)?));
        let carried = place.and_then(|place| self.labels.get(place)).map_or(0, |(carried, _)| *carried);
        self.join(carried.into());
    }

    fn local(&mut self, local: u32) {
        self.values(1);
        // A function has at most 50,000 locals; what names others does not validate.
        let place = usize::try_from(local.min(50_000)).unwrap_or(0);
        if place >= self.used.len() {
            self.used.resize(place + 1, false);
        }
        if let Some(used) = self.used.get_mut(place)
            && !*used
        {
            *used = true;
            self.locals = self.locals.saturating_add(1);
        }
    }

    fn work(&self) -> u64 {
        let squared = self.branches.saturating_mul(self.branches) / BRANCHES_SQUARED;
        self.values.saturating_add(self.joins.saturating_mul(self.locals)).saturating_add(squared)
    }
}

fn count<T>(all: &[T]) -> u32 {
    u32::try_from(all.len()).unwrap_or(u32::MAX)
}

/// Why counting ended.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The bytes are broken.
    Malformed(BinaryReaderError),
    /// What it has is never taken.
    TooComplex(String),
}

impl From<BinaryReaderError> for Problem {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complexity(wat: &str) -> Result<Complexity, Problem> {
        let bytes = wat::parse_str(wat).unwrap();
        let mut complexity = Complexity::default();
        for payload in wasmparser::Parser::new(0).parse_all(&bytes) {
            complexity.see(&payload?)?;
        }
        Ok(complexity)
    }

    #[test]
    fn instances_that_double_at_each_level_are_counted_as_what_they_become() {
        let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for level in 1..20 {
            let inner = level - 1;
            text.push_str(&format!(
                "(component $c{level} (alias outer $top $c{inner} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"
            ));
        }
        let counted = complexity(&format!("(component $top {text} (instance (instantiate $c19)))")).unwrap();
        assert!(counted.items > 1 << 19, "{}", counted.items);
        assert_eq!(counted.check(&EngineConfig::default()).unwrap_err().reason(), "TooComplex");
    }

    #[test]
    fn components_that_are_handed_around_are_refused() {
        for text in [
            "(component (component (import \"c\" (component))))",
            "(component (import \"i\" (instance $i (export \"c\" (component)))) (alias export $i \"c\" (component)))",
        ] {
            assert!(matches!(complexity(text).unwrap_err(), Problem::TooComplex(_)), "{text}");
        }
    }

    #[test]
    fn one_call_counts_as_all_the_values_that_it_makes() {
        let results = "i32 ".repeat(500);
        let drops = "drop ".repeat(500);
        let counted = complexity(&format!("(component (core module (func $f (result {results}) unreachable) (func call $f {drops})))")).unwrap();
        assert!((1501..1600).contains(&counted.function_work), "{}", counted.function_work);
    }

    #[test]
    fn branches_count_with_their_square_and_a_table_of_them_once() {
        let branching = |count: usize| complexity(&format!("(component (core module (func {})))", "i32.const 0 br_if 0 ".repeat(count))).unwrap();
        assert!((95_000..105_000).contains(&branching(3_000).function_work), "{}", branching(3_000).function_work);
        assert_eq!(branching(25_000).check(&EngineConfig::default()).unwrap_err().reason(), "TooComplex");
        let table = complexity(&format!("(component (core module (func i32.const 0 br_table {})))", "0 ".repeat(15_000))).unwrap();
        assert!(table.function_work < 40_000, "{}", table.function_work);
    }

    #[test]
    fn loops_count_for_each_loop_around_them_and_blocks_do_not() {
        let nested = |kind: &str| complexity(&format!("(component (core module (func {} {})))", format!("{kind} ").repeat(900), "end ".repeat(900))).unwrap();
        assert!((2_000_000..2_100_000).contains(&nested("loop").function_work), "{}", nested("loop").function_work);
        assert!(nested("block").function_work < 20_000, "{}", nested("block").function_work);
        let after = complexity(&format!("(component (core module (func {})))", "loop end ".repeat(900))).unwrap();
        assert!(after.function_work < 20_000, "{}", after.function_work);
    }

    #[test]
    fn joins_count_for_each_local_in_use() {
        let locals = "(local i32) ".repeat(100);
        let uses: String = (0..100).map(|n| format!("local.get {n} drop ")).collect();
        let counted = complexity(&format!("(component (core module (func {locals} {uses} {})))", "block end ".repeat(50))).unwrap();
        assert!((5_000..6_000).contains(&counted.function_work), "{}", counted.function_work);
        // Locals that nothing uses cost nothing.
        let idle = complexity(&format!("(component (core module (func {locals} {})))", "block end ".repeat(50))).unwrap();
        assert!(idle.function_work < 500, "{}", idle.function_work);
    }
}
