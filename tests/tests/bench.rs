//! What `mercato bench` counts, on loads too small to measure anything.

use std::process::Command;

use anyhow::{Context, ensure};
use mercato_tests::relay::binary;
use serde_json::Value;

/// The rows that a scenario prints.
fn bench(arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary()?);
    command.arg("bench").args(arguments).arg("--json").env("TMPDIR", folder.path()).env_remove("MERCATO_CONFIG");
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    report["rows"].as_array().cloned().context("a report has rows")
}

#[test]
fn every_job_of_a_market_ends_once_and_the_floor_is_told() -> anyhow::Result<()> {
    let rows = bench(&["jobs", "--in-flight", "5", "--jobs", "40", "--providers", "2,7"])?;
    assert_eq!(rows.len(), 2);
    for row in rows {
        for column in ["jobs", "leases", "results", "ended"] {
            assert_eq!(row[column], 40, "{column}: {row}");
        }
        assert_eq!((&row["refused"], &row["double_leases"]), (&Value::from(0), &Value::from(0)), "{row}");
        let figure = |column: &str| row[column].as_f64().with_context(|| format!("{column}: {row}"));
        assert!(figure("floor_us_per_job")? > 0.0 && figure("cpu_us_per_job")? > 0.0);
        assert!(figure("lease_p50_ms")? <= figure("end_p99_ms")?);
    }
    Ok(())
}

#[test]
fn jobs_come_at_a_rate_or_so_many_at_a_time() {
    let refused = bench(&["jobs", "--in-flight", "5", "--rate", "10"]).expect_err("one of them");
    assert!(refused.to_string().contains("cannot be used with"), "{refused}");
}
