//! Registers of several coordinates, for the kernels that the compiler does not vectorise by itself.
//!
//! Minimum and maximum differ between processors in two cases only, NaN and zeros of unlike signs. Neither occurs here:
//! [`Lanes::load`] makes positive zero of negative zero, and what a NaN was compared with is thrown away.

/// `WIDTH` neighbouring coordinates of one update.
pub(crate) trait Lanes: Copy {
    const WIDTH: usize;
    /// Whether 32 of them are worth sorting by straight code, which takes long to compile.
    const UNROLLED: bool;
    type Wide: Wide;

    /// `WIDTH` values, plus zero: negative zero becomes positive zero, nothing else changes.
    ///
    /// # Safety
    ///
    /// There are so many, aligned as an `f32` is.
    unsafe fn load(values: *const f32) -> Self;
    fn splat(value: f32) -> Self;
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    /// Zero wherever `trace` is zero and `self` is finite; NaN otherwise.
    fn trace(self, trace: Self) -> Self;
    /// Writes the first `WIDTH` values.
    fn store(self, values: &mut [f32; WIDEST]);
}

/// The `WIDTH` of the widest `Lanes`.
pub(crate) const WIDEST: usize = 16;

/// Eight `f64`: the partial sums of a dot product, whichever the processor.
pub(crate) trait Wide: Copy {
    /// How many rows and columns of sums fit the registers.
    const BLOCK: usize;

    fn zero() -> Self;
    fn load(values: &[f64; 8]) -> Self;
    fn store(self, values: &mut [f64; 8]);
    /// `a · b + self`. The product of two `f32` is exact in `f64`, so fused or not makes no difference.
    fn add_product(self, a: Self, b: Self) -> Self;
}

#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    const WIDTH: usize = 4;
    const UNROLLED: bool = false;
    type Wide = [f64; 8];

    #[inline(always)]
    unsafe fn load(values: *const f32) -> Self {
        // SAFETY: the caller has seen to it.
        let values = unsafe { *values.cast::<[f32; 4]>() };
        Self(values.map(|value| value + 0.0))
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn trace(self, trace: Self) -> Self {
        self.zip(trace, |value, trace| value * 0.0 + trace)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; WIDEST]) {
        values[..4].copy_from_slice(&self.0);
    }
}

impl Wide for [f64; 8] {
    const BLOCK: usize = 2;

    #[inline(always)]
    fn zero() -> Self {
        [0.0; 8]
    }

    #[inline(always)]
    fn load(values: &[f64; 8]) -> Self {
        *values
    }

    #[inline(always)]
    fn store(self, values: &mut [f64; 8]) {
        *values = self;
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

// SAFETY, for every block of this module: its functions are reached through `Isa::run` only, which has found that the
// processor has the instructions; what is read or written is as long as the register, and no alignment is assumed.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, WIDEST, Wide};

    macro_rules! lanes {
        ($name:ident, $register:ty, $width:literal, $wide:ty,
         $load:ident $store:ident $splat:ident $zero:ident $add:ident $min:ident $max:ident $fma:ident) => {
            #[derive(Clone, Copy)]
            pub(crate) struct $name($register);

            impl Lanes for $name {
                const WIDTH: usize = $width;
                const UNROLLED: bool = true;
                type Wide = $wide;

                #[inline(always)]
                unsafe fn load(values: *const f32) -> Self {
                    // More updates than the processor follows by itself are read side by side.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(values.wrapping_add(128).cast()) };
                    unsafe { Self($add($load(values), $zero())) }
                }

                #[inline(always)]
                fn splat(value: f32) -> Self {
                    unsafe { Self($splat(value)) }
                }

                #[inline(always)]
                fn min(self, other: Self) -> Self {
                    unsafe { Self($min(self.0, other.0)) }
                }

                #[inline(always)]
                fn max(self, other: Self) -> Self {
                    unsafe { Self($max(self.0, other.0)) }
                }

                #[inline(always)]
                fn trace(self, trace: Self) -> Self {
                    unsafe { Self($fma(self.0, $zero(), trace.0)) }
                }

                #[inline(always)]
                fn store(self, values: &mut [f32; WIDEST]) {
                    let values = &mut values[..$width];
                    unsafe { $store(values.as_mut_ptr(), self.0) }
                }
            }
        };
    }

    lanes!(Avx2, __m256, 8, Pair, _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_setzero_ps _mm256_add_ps
        _mm256_min_ps _mm256_max_ps _mm256_fmadd_ps);
    lanes!(Avx512, __m512, 16, Octet, _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_setzero_ps _mm512_add_ps
        _mm512_min_ps _mm512_max_ps _mm512_fmadd_ps);

    #[derive(Clone, Copy)]
    pub(crate) struct Pair(__m256d, __m256d);

    impl Wide for Pair {
        const BLOCK: usize = 2;

        #[inline(always)]
        fn zero() -> Self {
            unsafe { Self(_mm256_setzero_pd(), _mm256_setzero_pd()) }
        }

        #[inline(always)]
        fn load(values: &[f64; 8]) -> Self {
            let values = values.as_ptr();
            unsafe { Self(_mm256_loadu_pd(values), _mm256_loadu_pd(values.add(4))) }
        }

        #[inline(always)]
        fn store(self, values: &mut [f64; 8]) {
            let values = values.as_mut_ptr();
            unsafe {
                _mm256_storeu_pd(values, self.0);
                _mm256_storeu_pd(values.add(4), self.1);
            }
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_fmadd_pd(a.0, b.0, self.0), _mm256_fmadd_pd(a.1, b.1, self.1)) }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Octet(__m512d);

    impl Wide for Octet {
        const BLOCK: usize = 4;

        #[inline(always)]
        fn zero() -> Self {
            unsafe { Self(_mm512_setzero_pd()) }
        }

        #[inline(always)]
        fn load(values: &[f64; 8]) -> Self {
            unsafe { Self(_mm512_loadu_pd(values.as_ptr())) }
        }

        #[inline(always)]
        fn store(self, values: &mut [f64; 8]) {
            unsafe { _mm512_storeu_pd(values.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm512_fmadd_pd(a.0, b.0, self.0)) }
        }
    }
}
