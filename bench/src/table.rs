//! The table of ratios.

use crate::args::Copies;
use crate::measure::{Results, Row};
use crate::place::Kind;

/// Whether a goal was reached; goals are for one copy of the data.
fn verdict(row: &Row, copies: Copies) -> (String, &'static str) {
    match row.workload.goal {
        Some(goal) if copies == Copies::One => {
            let met = row.ratio(Kind::Raw) >= goal;
            (goal.to_string(), if met { "yes" } else { "no" })
        }
        _ => ("-".to_owned(), "-"),
    }
}

fn line(row: &Row, copies: Copies) -> String {
    let (goal, met) = verdict(row, copies);
    let (least, most) = row.range(Kind::Raw);
    format!(
        "{:<28} {:>8} {:>10.1} {:>10.1} {:>10.1} {:>10.3} {:>13} {:>12.3} {goal:>5} {met:>4}",
        row.workload.name,
        row.workload.unit,
        row.rate(Kind::Raw),
        row.rate(Kind::Mount),
        row.rate(Kind::Floor),
        row.ratio(Kind::Raw),
        format!("{least:.2}-{most:.2}"),
        row.ratio(Kind::Floor),
    )
}

/// The whole table.
pub(crate) fn render(results: &Results, copies: Copies) -> String {
    let mut lines = vec![format!(
        "{:<28} {:>8} {:>10} {:>10} {:>10} {:>10} {:>13} {:>12} {:>5} {:>4}",
        "workload",
        "",
        "raw",
        "mount",
        "floor",
        "mount/raw",
        "least-most",
        "mount/floor",
        "goal",
        "met"
    )];
    lines.extend(results.rows.iter().map(|row| line(row, copies)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Workload;

    fn results(mount: f64) -> Results {
        let workload = Workload {
            name: "cold read",
            unit: "MiB/s",
            goal: Some(0.3),
        };
        let mut results = Results::default();
        for (kind, rate) in [
            (Kind::Raw, 1000.0),
            (Kind::Mount, mount),
            (Kind::Floor, 2000.0),
        ] {
            results.record(workload, kind, (rate, Duration::from_secs(1)));
        }
        results
    }

    fn words(results: &Results, copies: Copies) -> Vec<String> {
        let table = render(results, copies);
        let line = table.lines().nth(1).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_row_says_whether_its_goal_was_met() {
        let met = words(&results(300.0), Copies::One);
        let expected = [
            "MiB/s",
            "1000.0",
            "300.0",
            "2000.0",
            "0.300",
            "0.30-0.30",
            "0.150",
            "0.3",
            "yes",
        ];
        assert_eq!(met[2..], expected);
        assert_eq!(
            words(&results(299.0), Copies::One)
                .last()
                .map(String::as_str),
            Some("no")
        );
    }

    #[test]
    fn three_copies_have_no_goal_of_one() {
        assert_eq!(words(&results(300.0), Copies::Three)[9..], ["-", "-"]);
    }
}
