//! The macros that a policy is made with.

/// Declares the params of a policy: a struct with a default and a doc comment for each field, and
/// the JSON Schema that the host checks manifests against.
///
/// A field is written `name: type = default`, with type `f64`, `u32`, `u64`, `bool` or `String`, or
/// `name: Option<type>` without default. `#[range(least..=most)]` after the doc comment bounds a
/// number. In JSON the name is in camelCase. A field that the struct does not have is an error.
#[macro_export]
macro_rules! params {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $(#[range($least:literal ..= $most:literal)])?
                $field:ident : $type:ty $(= $default:literal)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, $crate::serde::Deserialize)]
        #[serde(crate = "weir_policy::serde", default, deny_unknown_fields, rename_all = "camelCase")]
        $visibility struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::params!(@default $type $(, $default)?), )* }
            }
        }

        impl $crate::params::Params for $name {
            fn schema() -> ::std::string::String {
                $crate::params::schema_of(&[$($doc),*], &[$(
                    $crate::params::Declared {
                        name: ::core::stringify!($field),
                        json_type: <$type as $crate::params::Field>::JSON_TYPE,
                        doc: &[$($field_doc),*],
                        default: $crate::params!(@text $($default)?),
                        range: $crate::params!(@range $($least, $most)?),
                    },
                )*])
            }
        }
    };
    (@default $type:ty, $default:literal) => { <$type as $crate::params::Field>::of($default) };
    (@default $type:ty) => { ::core::default::Default::default() };
    (@text) => { ::core::option::Option::None };
    (@text $default:literal) => { ::core::option::Option::Some(::core::stringify!($default)) };
    (@range) => { ::core::option::Option::None };
    (@range $least:literal, $most:literal) => {
        ::core::option::Option::Some((::core::stringify!($least), ::core::stringify!($most)))
    };
}

/// Makes a function a scaling policy: the type `Policy`, which implements
/// [`ScalingPolicy`](crate::policy::ScalingPolicy), and, when compiled for Wasm, the exports of the
/// world `scaling-policy`.
///
/// The version is the crate's own. `state:` may be left out. Use it once in a crate, at its root.
#[macro_export]
macro_rules! scaling {
    (
        name: $name:literal,
        summary: $summary:literal,
        params: $params:ty,
        series: $series:tt,
        decide: $decide:path $(,)?
    ) => {
        $crate::scaling! { name: $name, summary: $summary, params: $params, state: (), series: $series, decide: $decide }
    };
    (
        name: $name:literal,
        summary: $summary:literal,
        params: $params:ty,
        state: $state:ty,
        series: { $($series:literal : $need:ident),* $(,)? },
        decide: $decide:path $(,)?
    ) => {
        #[doc = $summary]
        #[derive(Clone, Copy, Debug)]
        pub struct Policy;

        impl $crate::policy::ScalingPolicy for Policy {
            type Params = $params;
            type State = $state;

            fn describe() -> $crate::policy::Description {
                $crate::policy::Description {
                    name: $name,
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    summary: $summary,
                    series: const { &[$( $crate::policy::SeriesNeed::$need($series) ),*] },
                }
            }

            fn decide(
                input: &$crate::input::Input,
                params: &Self::Params,
                state: Self::State,
            ) -> ::core::result::Result<$crate::proposal::Proposal<Self::State>, $crate::proposal::Refusal> {
                $decide(input, params, state)
            }
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)]
        mod weir_component {
            type Component = $crate::bindings::Component<super::Policy>;
            $crate::bindings::export!(Component with_types_in $crate::bindings);
        }
    };
}

/// Makes a function a placement policy: the type `Policy`, which implements
/// [`PlacementPolicy`](crate::placement::PlacementPolicy), and, when compiled for Wasm, the exports of the
/// world `placement-policy`.
///
/// The version is the crate's own. `state:` may be left out. Use it once in a crate, at its root, and give this
/// crate the feature `placement`.
#[macro_export]
macro_rules! placement {
    (
        name: $name:literal,
        summary: $summary:literal,
        params: $params:ty,
        decide: $decide:path $(,)?
    ) => {
        $crate::placement! { name: $name, summary: $summary, params: $params, state: (), decide: $decide }
    };
    (
        name: $name:literal,
        summary: $summary:literal,
        params: $params:ty,
        state: $state:ty,
        decide: $decide:path $(,)?
    ) => {
        #[doc = $summary]
        #[derive(Clone, Copy, Debug)]
        pub struct Policy;

        impl $crate::placement::PlacementPolicy for Policy {
            type Params = $params;
            type State = $state;

            fn describe() -> $crate::placement::Description {
                $crate::placement::Description { name: $name, version: ::core::env!("CARGO_PKG_VERSION"), summary: $summary }
            }

            fn decide(
                input: &$crate::placement::Input,
                params: &Self::Params,
                state: Self::State,
            ) -> ::core::result::Result<$crate::placement::Placement<Self::State>, $crate::proposal::Refusal> {
                $decide(input, params, state)
            }
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)]
        mod weir_component {
            type Component = $crate::bindings::Component<super::Policy>;
            $crate::bindings::export!(Component with_types_in $crate::bindings);
        }
    };
}
