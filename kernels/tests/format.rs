//! Artefacts: what is written is read, however it is cut; what is broken is an error that names the file.

use std::num::NonZeroUsize;

use mercato_kernels::format::*;
use mercato_kernels::*;
use proptest::prelude::*;

const TENSORS: [(&str, &[usize]); 3] = [("a.weight", &[3, 7]), ("b", &[5000]), ("c.scales", &[2, 2, 2])];
const LEN: usize = 21 + 5000 + 8;

fn values(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..LEN).map(|_| next()).collect()
}

fn dense(precision: Precision, values: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), precision, TENSORS.into_iter()).unwrap();
    values.chunks(1000).for_each(|piece| writer.write(piece).unwrap());
    writer.finish().unwrap()
}

fn artefact(bytes: Vec<u8>) -> Result<Artefact, FormatError> {
    Artefact::new("update.safetensors".to_owned(), Box::new(bytes))
}

fn read(bytes: Vec<u8>) -> Vec<f32> {
    let mut out = vec![f32::NAN; LEN];
    artefact(bytes).unwrap().read(0..LEN, &mut out).unwrap();
    out
}

fn packed(packing: Packing, values: &[f32]) -> Vec<u8> {
    ErrorFeedback::new(LEN, 1.0).pack(packing, &TENSORS, values).unwrap()
}

fn every_format(values: &[f32]) -> Vec<Vec<u8>> {
    let packings = [
        Packing::Int8,
        Packing::TopK { k: 40, bits: 2 },
        Packing::TopK { k: 3, bits: 4 },
        Packing::TopK { k: 4096, bits: 4 },
    ];
    let precisions = [Precision::F32, Precision::F16, Precision::Bf16];
    let dense = precisions.map(|precision| dense(precision, values));
    dense.into_iter().chain(packings.map(|packing| packed(packing, values))).collect()
}

#[test]
fn what_is_written_is_read_as_precisely_as_the_format_says() {
    let values = values(1);
    assert_eq!(read(dense(Precision::F32, &values)), values);
    let check = |bytes: Vec<u8>, bound: f32| {
        let worst = read(bytes).iter().zip(&values).map(|(read, value)| (read - value).abs()).fold(0.0, f32::max);
        assert!(worst <= bound && worst > bound / 4.0, "{worst} {bound}");
    };
    check(dense(Precision::F16, &values), 2.0_f32.powi(-12));
    check(dense(Precision::Bf16, &values), 2.0_f32.powi(-9));
    check(packed(Packing::Int8, &values), 0.5 / 127.0 + 1e-6);
    check(packed(Packing::TopK { k: 4096, bits: 4 }, &values), 1.0 / 15.0 + 1e-6);
    check(packed(Packing::TopK { k: 4096, bits: 2 }, &values), 1.0 / 3.0 + 1e-6);
}

#[test]
fn top_k_keeps_the_largest_of_each_chunk_and_nothing_else() {
    let values = values(2);
    let read = read(packed(Packing::TopK { k: 40, bits: 4 }, &values));
    for (start, end) in [(0, 21), (21, 21 + 4096), (21 + 4096, 5021), (5021, LEN)] {
        let kept: Vec<usize> = (start..end).filter(|&at| read[at] != 0.0).collect();
        assert_eq!(kept.len(), 40.min(end - start));
        let least = kept.iter().map(|&at| values[at].abs()).fold(f32::MAX, f32::min);
        assert!((start..end).all(|at| read[at] != 0.0 || values[at].abs() <= least));
    }
}

#[test]
fn what_a_file_does_not_say_is_said_in_the_next_ones() {
    let wanted = values(3);
    let mut feedback = ErrorFeedback::new(LEN, 1.0);
    let mut said = vec![0.0_f64; LEN];
    let rounds = 300;
    for _ in 0..rounds {
        let file = feedback.pack(Packing::TopK { k: 400, bits: 2 }, &TENSORS, &wanted).unwrap();
        said.iter_mut().zip(read(file)).for_each(|(said, read)| *said += f64::from(read));
    }
    let mean_error: f64 = said
        .iter()
        .zip(&wanted)
        .map(|(said, &wanted)| (said / f64::from(rounds) - f64::from(wanted)).abs())
        .sum::<f64>()
        / LEN as f64;
    assert!(mean_error < 0.05, "{mean_error}");
}

#[test]
fn a_rule_over_files_has_the_bits_of_the_rule_over_memory() {
    for format in 0..every_format(&values(0)).len() {
        let files: Vec<Vec<u8>> = (0..5).map(|seed| every_format(&values(seed)).swap_remove(format)).collect();
        let memory: Vec<Vec<f32>> = files.iter().map(|file| read(file.clone())).collect();
        let rows: Vec<&[f32]> = memory.iter().map(Vec::as_slice).collect();
        let artefacts = Artefacts::new(files.into_iter().map(|file| artefact(file).unwrap()).collect()).unwrap();
        for tile in [1000, 4096, 999_999] {
            let plan =
                Plan { tile: NonZeroUsize::new(tile).unwrap(), ..Plan::with_threads(NonZeroUsize::new(2).unwrap()) };
            let (mut expected, mut out) = (vec![0.0; LEN], vec![1.0; LEN]);
            median(&Dense::new(&rows).unwrap(), &mut expected, &plan).unwrap();
            median(&artefacts, &mut out, &plan).unwrap();
            assert_eq!(out, expected);
            assert_eq!(Gram::of(&artefacts, &plan), Gram::of(&Dense::new(&rows).unwrap(), &plan));
        }
    }
}

#[test]
fn updates_with_other_tensors_are_named() {
    let other: [(&str, &[usize]); 1] = [("a.weight", &[21])];
    let mut writer = Writer::new(Vec::new(), Precision::F32, other.into_iter()).unwrap();
    writer.write(&[0.0; 21]).unwrap();
    let odd = Artefact::new("odd".to_owned(), Box::new(writer.finish().unwrap())).unwrap();
    let error = Artefacts::new(vec![artefact(dense(Precision::F32, &values(1))).unwrap(), odd]).err().unwrap();
    assert_eq!((error.artefact.as_str(), error.reason.contains("a.weight")), ("odd", true));
}

#[test]
fn a_file_that_is_missing_or_cut_short_is_named() {
    let directory = std::env::temp_dir().join(format!("mercato-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("update.safetensors");
    let missing = Artefact::open(&path).err().unwrap();
    std::fs::write(&path, dense(Precision::Bf16, &values(1))).unwrap();
    let artefact = Artefact::open(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(900).unwrap();
    let cut = artefact.read(0..LEN, &mut vec![0.0; LEN]).unwrap_err();
    let reopened = Artefact::open(&path).err().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    for error in [missing, cut, reopened] {
        assert_eq!(error.artefact, path.display().to_string());
    }
}

#[test]
fn values_that_are_missing_are_no_file() {
    let mut writer = Writer::new(Vec::new(), Precision::F32, TENSORS.into_iter()).unwrap();
    writer.write(&[0.0; LEN - 1]).unwrap();
    assert!(writer.finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither a panic nor a number from beyond the file, whatever is flipped, cut or added.
    #[test]
    fn whatever_is_broken_is_an_error_or_numbers(
        format in 0..7_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in 0..4_usize,
    ) {
        let mut file = every_format(&values(4)).swap_remove(format);
        // The header is what is parsed: half of the faults are there.
        let place = if bit < 4 { at.index(file.len().min(900)) } else { at.index(file.len()) };
        match cut {
            0 => file.truncate(place),
            1 => file.push(0),
            _ => file[place] ^= 1 << bit,
        }
        if let Ok(artefact) = artefact(file) {
            prop_assert!(cut > 1, "what is cut or too long is noticed");
            let len = artefact.coordinates();
            if len < 1 << 20 {
                let _ = artefact.read(0..len, &mut vec![0.0; len]);
            }
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_an_artefact(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = artefact(bytes);
    }

    #[test]
    fn ranges_are_read_as_the_whole(from in 0..LEN, len in 0..LEN, format in 0..7_usize) {
        let file = every_format(&values(5)).swap_remove(format);
        let to = (from + len).min(LEN);
        let mut part = vec![f32::NAN; to - from];
        artefact(file.clone()).unwrap().read(from..to, &mut part).unwrap();
        prop_assert_eq!(&part, &read(file)[from..to]);
    }
}
