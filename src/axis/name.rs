//! The macro [`axis!`], which makes the enum of an axis, its list and its table from one list.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {axis} {got:?}: expected {}; did you mean {nearest:?}?", known.join(", "))]
pub struct UnknownName {
    pub axis: &'static str,
    pub got: String,
    pub known: Vec<&'static str>,
    /// Name with the least edit distance from `got`.
    pub nearest: &'static str,
}

impl UnknownName {
    /// Error for `got`; `known` is not empty.
    pub(super) fn new(axis: &'static str, got: &str, known: Vec<&'static str>) -> UnknownName {
        let distance = |name: &&&str| strsim::levenshtein(got, name);
        let nearest = known.iter().min_by_key(distance).copied().unwrap_or_default();
        UnknownName { axis, got: got.to_owned(), known, nearest }
    }
}

/// Declares `$Axis` with a row of type `$Spec` for each point. `$Spec` has a field `name`. The
/// points after `outside` have names too, but are not in `ALL`: no server of ours has them.
macro_rules! axis {
    (
        $(#[$attr:meta])*
        $Axis:ident, $word:literal, $Spec:ident;
        $( $Point:ident { $($row:tt)* } )+
        $( ; outside $( $Outside:ident { $($outside_row:tt)* } )+ )?
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $Axis {
            $( $Point, )+
            $( $( $Outside, )+ )?
        }

        impl $Axis {
            pub const ALL: [$Axis; [$($Axis::$Point),+].len()] = [$($Axis::$Point),+];

            pub const fn spec(self) -> &'static $Spec {
                match self {
                    $( $Axis::$Point => const { &$Spec { $($row)* } }, )+
                    $( $( $Axis::$Outside => const { &$Spec { $($outside_row)* } }, )+ )?
                }
            }

            pub const fn name(self) -> &'static str {
                self.spec().name
            }
        }

        impl ::std::fmt::Display for $Axis {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $Axis {
            type Err = $crate::axis::UnknownName;

            fn from_str(text: &str) -> Result<$Axis, Self::Err> {
                let mut points = $Axis::ALL.into_iter()$( .chain([$($Axis::$Outside),+]) )?;
                points.find(|point| point.name() == text).ok_or_else(|| {
                    let known = $Axis::ALL.map($Axis::name).to_vec();
                    $crate::axis::UnknownName::new($word, text, known)
                })
            }
        }

        $crate::axis::name::serde_by_name!($Axis);
    };
}

/// Implements serde for a type by its `Display` and `FromStr`.
macro_rules! serde_by_name {
    ($Type:ty) => {
        impl ::serde::Serialize for $Type {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $Type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<$Type, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

pub(super) use axis;
pub(crate) use serde_by_name;
