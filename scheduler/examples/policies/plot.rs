//! Line charts as SVG, drawn by hand.

use std::fmt::Write as _;

const WIDTH: u64 = 720;
const HEIGHT: u64 = 300;
const LEFT: u64 = 70;
const RIGHT: u64 = 110;
const TOP: u64 = 40;
const BOTTOM: u64 = 50;
/// Told apart also by who sees no red or no green.
const COLOURS: [&str; 5] = ["#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7"];

pub struct Chart<'a> {
    pub title: &'a str,
    /// What the axes say, and their labels with their places.
    pub x: (&'a str, Vec<(u64, String)>),
    pub y: (&'a str, Vec<(u64, String)>),
    pub lines: Vec<(&'a str, Vec<(u64, u64)>)>,
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>",
            self.title
        );
        let points = || self.lines.iter().flat_map(|(_, points)| points.iter());
        let most =
            |marks: &[(u64, String)], last: u64| marks.iter().map(|(at, _)| *at).max().unwrap_or(1).max(last).max(1);
        let x_max = most(&self.x.1, points().map(|(x, _)| *x).max().unwrap_or(1));
        let y_max = most(&self.y.1, points().map(|(_, y)| *y).max().unwrap_or(1));
        let across = |x: u64| LEFT + (WIDTH - LEFT - RIGHT) * x / x_max;
        let up = |y: u64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / y_max;
        let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (at, label) in &self.y.1 {
            let y = up(*at);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
                LEFT - 6,
                y + 4
            );
        }
        for (at, label) in &self.x.1 {
            let (x, y) = (across(*at), floor + 16);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
        }
        let (middle, foot) = (u64::midpoint(LEFT, right), HEIGHT - 14);
        let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{}</text>", self.x.0);
        let _ = writeln!(svg, "<text x=\"8\" y=\"34\" fill=\"#555\">{}</text>", self.y.0);
        for (at, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let path: Vec<_> = points.iter().map(|(x, y)| format!("{},{}", across(*x), up(*y))).collect();
            let (x, y) = (right + 10, TOP + 14 + 17 * at as u64);
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{name}</text>",
                path.join(" ")
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}
