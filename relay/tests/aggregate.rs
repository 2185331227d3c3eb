//! `mercato aggregate` as somebody with files meets it.
#![cfg(feature = "rocksdb")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mercato_kernels::format::{Artefact, ErrorFeedback, Packing, Precision, Writer};
use mercato_kernels::{Dense, OuterStep, Plan, median, weighted_mean};
use serde_json::Value;
use sha2::{Digest, Sha256};

const TENSORS: [(&str, &[usize]); 2] = [("bias", &[40]), ("weight", &[30, 100])];
const D: usize = 3_040;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, values: &[f32]) {
        self.write_as(name, Precision::F32, values);
    }

    fn write_as(&self, name: &str, precision: Precision, values: &[f32]) {
        let mut writer = Writer::new(Vec::new(), precision, TENSORS.into_iter()).unwrap();
        writer.write(values).unwrap();
        std::fs::write(self.path(name), writer.finish().unwrap()).unwrap();
    }

    fn read(&self, name: &str) -> Vec<f32> {
        let artefact = Artefact::open(&self.path(name)).unwrap();
        let mut values = vec![0.0; artefact.coordinates()];
        artefact.read(0..values.len(), &mut values).unwrap();
        values
    }

    fn call(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mercato"));
        command.arg("aggregate").args(arguments.split_whitespace()).current_dir(self.0.path());
        command.output().unwrap()
    }

    fn aggregate(&self, arguments: &str) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn report(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.aggregate(&format!("--json {arguments}"))).unwrap()
    }

    fn refusal(&self, arguments: &str) -> String {
        let output = self.call(arguments);
        assert!(!output.status.success(), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Files and values of `n` updates around a common direction.
    fn updates(&self, n: usize) -> Vec<Vec<f32>> {
        let updates: Vec<Vec<f32>> = (0..n).map(|update| update_of(update as u64 + 1)).collect();
        for (update, values) in updates.iter().enumerate() {
            self.write(&format!("{update}.safetensors"), values);
        }
        updates
    }
}

fn update_of(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5
    };
    (0..D).map(|at| (at as f32 * 0.37).sin() + noise()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn rows(updates: &[Vec<f32>]) -> Vec<&[f32]> {
    updates.iter().map(Vec::as_slice).collect()
}

fn names(n: usize) -> String {
    (0..n).map(|update| format!("{update}.safetensors ")).collect()
}

fn sha256(path: &Path) -> String {
    const_hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

#[test]
fn the_aggregate_has_the_bits_of_the_rule_and_a_receipt() {
    let folder = Folder::new();
    let updates = folder.updates(5);
    let mut expected = vec![0.0; D];
    let rows = rows(&updates);
    let dense = Dense::new(&rows).unwrap();
    median(&dense, &mut expected, &Plan::default()).unwrap();
    let report = folder.report(&format!("--rule median {} -o out.safetensors", names(5)));
    assert_eq!(bits(&folder.read("out.safetensors")), bits(&expected));
    let written = &report["written"][0];
    assert_eq!(written["sha256"], sha256(&folder.path("out.safetensors")));
    assert_eq!(report["updates"][3]["sha256"], sha256(&folder.path("3.safetensors")));
    assert_eq!((&report["coordinates"], &report["rule"]), (&D.into(), &"median".into()));

    weighted_mean(&dense, &[3.0, 1.0, 0.5, 2.0, 1.0], &mut expected, &Plan::default()).unwrap();
    let hashes: Vec<Value> = ["1", "2", "7"]
        .map(|threads| {
            let arguments = format!("--rule mean --weights 3,1,0.5,2,1 --threads {threads} {} -o out.st", names(5));
            folder.report(&arguments)["written"][0]["sha256"].clone()
        })
        .to_vec();
    assert_eq!(bits(&folder.read("out.st")), bits(&expected));
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

#[test]
fn a_liar_is_told_apart_in_the_table() {
    let folder = Folder::new();
    let mut updates = folder.updates(7);
    updates[2].iter_mut().for_each(|value| *value *= -30.0);
    folder.write("2.safetensors", &updates[2]);
    folder.write("6.safetensors", &updates[5]);
    let table = folder.aggregate(&format!("--rule multi-krum --f 2 {} -o out.st", names(7)));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "multi-krum of 7 updates with 3040 parameters, f = 2: 5 used");
    let liar = lines[4];
    assert!(
        liar.starts_with("2.safetensors          -  ") && liar.contains("times the usual norm; points elsewhere"),
        "{table}"
    );
    assert!(lines[8].ends_with("a copy of 5.safetensors"), "{table}");
    assert!(lines[9].starts_with("out.st: ") && lines[9].ends_with(&sha256(&folder.path("out.st"))), "{table}");
}

#[test]
fn who_is_not_finite_is_named_and_left_out_or_everything_is_refused() {
    let folder = Folder::new();
    let mut updates = folder.updates(5);
    let expected =
        folder.report("--rule trimmed-mean --f 1 0.safetensors 1.safetensors 2.safetensors 4.safetensors -o a.st");
    updates[3][41] = f32::NAN;
    folder.write("3.safetensors", &updates[3]);
    // It was one of the two that may be faulty.
    let output = folder.call(&format!("--json --rule trimmed-mean --f 2 {} -o b.st", names(5)));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["written"][0]["sha256"], expected["written"][0]["sha256"]);
    assert_eq!(
        (&report["updates"][3]["fate"], &report["updates"][3]["tensor"]),
        (&"left_out".into(), &"weight".into())
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("3.safetensors: not finite in tensor `weight` (coordinate 41 of the update): left out"),
        "{said}"
    );
    let said = folder.refusal(&format!("--strict --rule mean {} -o c.st", names(5)));
    assert!(said.contains("3.safetensors: not finite in tensor `weight`") && !folder.path("c.st").exists(), "{said}");
    assert!(folder.refusal("--rule mean 3.safetensors -o c.st").contains("no update is finite"));
}

#[test]
fn a_broken_file_is_named_and_nothing_is_written() {
    let folder = Folder::new();
    folder.updates(2);
    std::fs::write(folder.path("torn.st"), &std::fs::read(folder.path("1.safetensors")).unwrap()[..900]).unwrap();
    let mut other = Writer::new(Vec::new(), Precision::F32, [("bias", &[40][..])].into_iter()).unwrap();
    other.write(&[0.0; 40]).unwrap();
    std::fs::write(folder.path("other.st"), other.finish().unwrap()).unwrap();
    std::fs::write(folder.path("text.st"), "not a tensor in it").unwrap();
    for (file, why) in [
        ("torn.st", "900 bytes, but the header tells of"),
        ("other.st", "its tensors are not those of 0.safetensors"),
        ("text.st", "a header of"),
        ("gone.st", "No such file"),
    ] {
        let said = folder.refusal(&format!("--rule mean 0.safetensors {file} 1.safetensors -o out.st"));
        assert!(said.contains(file) && said.contains(why), "{said}");
        assert!(!folder.path("out.st").exists() && !folder.path("out.st.partial").exists());
    }
    let said = folder.refusal("--rule mean 0.safetensors -o no/such/folder.st");
    assert!(said.contains("writing no/such/folder.st"), "{said}");
}

#[test]
fn arguments_that_do_not_go_together_are_explained() {
    let folder = Folder::new();
    folder.updates(3);
    for (arguments, why) in [
        ("--rule krum", "--rule krum needs --f"),
        ("--rule nnm+median", "--rule nnm+median needs --f"),
        ("--rule krum --f 1", "krum needs n > 2f + 2; there are 3 updates for f = 1"),
        ("--rule median --weights 1,2,3", "--rule median takes no --weights"),
        ("--rule mean --weights 1,2", "2 weights for 3 updates"),
        ("--rule mean --weights 1,-2,1", "1.safetensors: the weight of update 1 is negative"),
        ("--rule fltrust", "--root is the server's own update"),
        ("--rule mean --root 0.safetensors", "--root is the server's own update"),
        ("--rule median --centre 0.safetensors", "--centre is the last aggregate"),
        ("--rule diloco", "--rule diloco needs --model"),
        ("--rule diloco --model 0.safetensors", "momentum needs --buffer-output"),
        ("--rule best", "there is no rule `best`: it is one of mean, median"),
        ("--rule mean --nesterov", "--model"),
    ] {
        let said = folder.refusal(&format!("{arguments} {} -o out.st", names(3)));
        assert!(said.contains(why), "{arguments}: {said}");
        assert!(!folder.path("out.st").exists());
    }
}

#[test]
fn two_rounds_of_diloco_are_two_steps_of_the_model() {
    let folder = Folder::new();
    let models = folder.updates(4);
    let start = update_of(99);
    folder.write("start.st", &start);
    folder.aggregate(&format!("--rule diloco --model start.st --buffer-output b1.st {} -o m1.st", names(4)));
    folder
        .aggregate(&format!("--rule diloco --model m1.st --buffer b1.st --buffer-output b2.st {} -o m2.st", names(4)));
    let (mut theta, mut buffer) = (start, vec![0.0; D]);
    for round in 1..=2 {
        let pseudo: Vec<Vec<f32>> =
            models.iter().map(|model| theta.iter().zip(model).map(|(theta, model)| theta - model).collect()).collect();
        let rows = rows(&pseudo);
        let (updates, plan) = (Dense::new(&rows).unwrap(), Plan::default());
        OuterStep::DILOCO.mean(&updates, &[1.0; 4], &mut theta, &mut buffer, &plan).unwrap();
        assert_eq!(bits(&folder.read(&format!("m{round}.st"))), bits(&theta), "round {round}");
        assert_eq!(bits(&folder.read(&format!("b{round}.st"))), bits(&buffer), "round {round}");
    }
}

/// With a model every rule works on differences, and a step of one towards them ends at the rule's own choice.
#[test]
fn a_robust_rule_makes_the_next_model() {
    let folder = Folder::new();
    let models = folder.updates(6);
    let start = update_of(77);
    folder.write("start.st", &start);
    folder.aggregate(&format!("--rule krum --f 1 --model start.st {} -o next.st", names(6)));
    let next = folder.read("next.st");
    let far = |model: &Vec<f32>| model.iter().zip(&next).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(models.iter().filter(|model| far(model) < 1e-6).count(), 1);
}

#[test]
fn rules_with_something_of_the_servers_own_take_it() {
    let folder = Folder::new();
    let updates = folder.updates(4);
    folder.write("own.st", &updates[0]);
    let report = folder.report(&format!("--rule fltrust --root own.st {} -o out.st", names(4)));
    let score = |update: usize| report["updates"][update]["score"].as_f64().unwrap();
    assert!((score(0) - 1.0).abs() < 1e-9 && score(1) < 0.95 && score(1) > 0.5, "{report}");
    // Nobody is further from the centre than it allows: the plain mean.
    folder.aggregate(&format!("--rule centered-clip --centre own.st {} -o clipped.st", names(4)));
    folder.aggregate(&format!("--rule mean {} -o mean.st", names(4)));
    let far =
        folder.read("clipped.st").iter().zip(folder.read("mean.st")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-5, "{far}");
    folder.aggregate(&format!("--rule centered-clip --tau 0 {} -o zero.st", names(4)));
    assert!(folder.read("zero.st").iter().all(|value| *value == 0.0));
}

#[test]
fn encoded_updates_count_as_what_they_stand_for() {
    let folder = Folder::new();
    let updates = folder.updates(3);
    folder.write_as("half.st", Precision::Bf16, &updates[0]);
    let packed = ErrorFeedback::new(D, 1.0).pack(Packing::Int8, &TENSORS, &updates[1]).unwrap();
    std::fs::write(folder.path("int8.st"), packed).unwrap();
    let values = [folder.read("half.st"), folder.read("int8.st"), updates[2].clone()];
    let mut expected = vec![0.0; D];
    weighted_mean(&Dense::new(&rows(&values)).unwrap(), &[1.0; 3], &mut expected, &Plan::default()).unwrap();
    folder.aggregate("--rule mean half.st int8.st 2.safetensors -o out.st");
    assert_eq!(bits(&folder.read("out.st")), bits(&expected));
    folder.aggregate("--rule mean --precision bf16 2.safetensors -o small.st");
    assert!(std::fs::metadata(folder.path("small.st")).unwrap().len() < 2 * D as u64 + 400);
}
