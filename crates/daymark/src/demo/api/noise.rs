//! Numbers that look random and are not: each is a function of a stream and an index.
//!
//! In: a stream (which quantity) and an index (which day). Out: the same number for ever, on every
//! machine. Deliberately absent: state; a generator with state would make a value depend on the
//! requests before it.

use jiff::civil::{Date, date};

/// The quantity a number is for; two streams are independent of each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream(pub(super) u64);

impl Stream {
    /// 64 well mixed bits: the finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
    pub(super) fn bits(self, index: i64) -> u64 {
        let index = index.cast_unsigned().wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut bits = index ^ self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in 0 to 1, 1 excluded.
    pub(super) fn uniform(self, index: i64) -> f64 {
        f64::from((self.bits(index) >> 32) as u32) / 4_294_967_296.0
    }

    /// Close to a standard normal: the sum of four uniforms, scaled; within -3.5 to 3.5. Only
    /// additions and products, so that every machine computes the same last bit.
    pub(super) fn normal(self, index: i64) -> f64 {
        let bits = self.bits(index);
        let sum = [bits >> 48, bits >> 32, bits >> 16, bits]
            .map(|part| f64::from((part & 0xffff) as u16) / 65_536.0)
            .iter()
            .sum::<f64>();
        (sum - 2.0) * 3.0_f64.sqrt()
    }

    /// A standard normal of which neighbouring indexes are alike: their correlation is `memory`.
    pub(super) fn smooth(self, index: i64, memory: f64) -> f64 {
        // The weight of the oldest day counted is below a hundredth for a memory of 0.7.
        let mut weight = (1.0 - memory * memory).sqrt();
        let mut sum = 0.0;
        for day in 0..14 {
            sum += weight * self.normal(index - day);
            weight *= memory;
        }
        sum
    }
}

/// The number of a day: days since 1970-01-01.
pub(super) fn day_number(day: Date) -> i64 {
    day.duration_since(date(1970, 1, 1)).as_hours() / 24
}

/// A number as a 32-bit float holds it, which is how both services keep theirs.
#[expect(clippy::cast_possible_truncation, reason = "losing the digits is what it is for")]
pub(super) fn float32(value: f64) -> f32 {
    value as f32
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "volumes are far below 2^53")]
pub(super) fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// A count as a float, for averages; counts here are small.
pub(super) fn float(count: i64) -> f64 {
    i32::try_from(count).map_or(f64::NAN, f64::from)
}

/// Rounded to so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10.0_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fixed_for_ever() {
        // A change of these changes every number of the demo.
        assert_eq!(Stream(1).bits(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(Stream(1).bits(20_000), 2_402_360_533_465_293_934);
        assert_eq!(day_number(date(1970, 1, 2)), 1);
        assert_eq!(day_number(date(1969, 12, 31)), -1);
    }

    #[test]
    fn they_are_spread_as_they_should_be() {
        let count = 20_000;
        let mean = |f: &dyn Fn(i64) -> f64| (0..count).map(f).sum::<f64>() / float(count);
        assert!((mean(&|i| Stream(3).uniform(i)) - 0.5).abs() < 0.01);
        assert!(mean(&|i| Stream(3).normal(i)).abs() < 0.03);
        assert!((mean(&|i| Stream(3).normal(i).powi(2)) - 1.0).abs() < 0.03);
        assert!((mean(&|i| Stream(3).smooth(i, 0.6).powi(2)) - 1.0).abs() < 0.06);
        let alike = mean(&|i| Stream(3).smooth(i, 0.6) * Stream(3).smooth(i + 1, 0.6));
        assert!((alike - 0.6).abs() < 0.05, "{alike}");
        assert!(mean(&|i| Stream(3).normal(i) * Stream(4).normal(i)).abs() < 0.03);
    }
}
