//! How the known ways to get a part of the bus wrong are listed. Which they are stands beside the part.

/// Defines an enumeration of mistakes, which with the feature `verify` can be gone through.
macro_rules! mistakes {
    ($(#[$about:meta])* $mutant:ident { $($(#[$doc:meta])* $name:ident,)+ }) => {
        $(#[$about])*
        #[cfg_attr(not(feature = "unstable-internals"), expect(unreachable_pub, reason = "it is public with `verify` alone"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $mutant {
            $($(#[$doc])* $name,)+
        }

        impl $mutant {
            /// All of them.
            #[cfg(feature = "unstable-internals")]
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}
pub(crate) use mistakes;
