import Glibc

/// The two clocks that telemetry reads: intervals from the monotonic one, dates from the wall.
package enum TelemetryClock {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    package static func monotonicNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970 of the wall clock.
    package static func wallNanoseconds() -> UInt64 { nanoseconds(CLOCK_REALTIME) }

    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
}

extension [UInt8] {
    /// Appends wall time as RFC 3339 in UTC with microseconds: `2026-11-20T21:31:20.123456Z`.
    ///
    /// Days are turned into a date by Howard Hinnant's `civil_from_days`, in eras of 400 years from March.
    mutating func append(rfc3339 wallNanoseconds: UInt64) {
        let seconds = wallNanoseconds / 1_000_000_000
        let days = seconds / 86_400 + 719_468
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + days / 146_097 * 400 + (month <= 2 ? 1 : 0)
        append(decimal: year, minimumDigits: 4)
        append(UInt8(ascii: "-"))
        append(decimal: month, minimumDigits: 2)
        append(UInt8(ascii: "-"))
        append(decimal: dayOfYear - (153 * monthFromMarch + 2) / 5 + 1, minimumDigits: 2)
        append(UInt8(ascii: "T"))
        append(decimal: seconds / 3600 % 24, minimumDigits: 2)
        append(UInt8(ascii: ":"))
        append(decimal: seconds / 60 % 60, minimumDigits: 2)
        append(UInt8(ascii: ":"))
        append(decimal: seconds % 60, minimumDigits: 2)
        append(UInt8(ascii: "."))
        append(decimal: wallNanoseconds / 1000 % 1_000_000, minimumDigits: 6)
        append(UInt8(ascii: "Z"))
    }
}
