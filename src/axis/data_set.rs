//! Named data sets, which compress as differently as real arrays do.

use super::name::axis;

#[derive(Clone, Copy, Debug)]
pub struct DataSetSpec {
    pub name: &'static str,
    pub about: &'static str,
    /// Type of the items.
    pub dtype: &'static str,
}

axis! {
    /// Data of an array that is made from a seed.
    DataSet, "data set", DataSetSpec;

    Smooth { name: "smooth", about: "a sum of long waves, with a little noise", dtype: "<f4" }
    Image { name: "image", about: "a photograph of 12 bits with the noise of a sensor", dtype: "<u2" }
    Random { name: "random", about: "uniform in [0, 1), as numpy.random.rand", dtype: "<f8" }
}
