//! Icicles within a page, so that the page can be made again from itself.

use serde::{Deserialize, Serialize};

use crate::axis::Layer;
use crate::report::page::records::{PageError, Slot};

use super::Folded;
use super::fold::{Area, Content, Icicle, ROWS_MAX};

/// Place of the icicles in a page.
const SLOT: Slot = Slot { id: "ndecho-icicles", form: 1 };

/// Areas of an icicle that is read. One that was folded at a hundredth has fewer.
const AREAS_MAX: usize = 2_000;

/// Stored form. A name is stored once.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    names: Vec<String>,
    icicles: Vec<PackedIcicle>,
    left_out: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedIcicle {
    server: String,
    load: String,
    samples: u64,
    least_permille: u64,
    folded: usize,
    is_cut: bool,
    areas: Vec<PackedArea>,
}

/// Row, layer, samples, number of the name, and number of folded names, which is 0 for an area with
/// a name.
#[derive(Serialize, Deserialize)]
struct PackedArea(usize, Layer, u64, usize, usize);

/// Returns the element that holds icicles; empty if there are none.
pub(super) fn element(folded: &Folded) -> String {
    if folded.icicles.is_empty() && folded.left_out == 0 {
        return String::new();
    }
    let mut packed = Packed { left_out: folded.left_out, ..Packed::default() };
    for icicle in &folded.icicles {
        let areas = icicle.areas.iter().map(|area| packed_area(area, &mut packed.names)).collect();
        packed.icicles.push(PackedIcicle {
            server: icicle.server.clone(),
            load: icicle.load.clone(),
            samples: icicle.samples,
            least_permille: icicle.least_permille,
            folded: icicle.folded,
            is_cut: icicle.is_cut,
            areas,
        });
    }
    let json = serde_json::to_vec(&packed).expect("all keys are text");
    SLOT.element(&json)
}

fn packed_area(area: &Area, names: &mut Vec<String>) -> PackedArea {
    let (name, folded) = match &area.content {
        Content::Folded(folded) => (0, *folded),
        Content::Name(name) => {
            let known = names.iter().position(|known| known == name);
            let index = known.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
            (index, 0)
        }
    };
    PackedArea(area.row, area.layer, area.samples, name, folded)
}

/// Returns the icicles of a page; none if the page has none.
pub(super) fn extract(page: &str) -> Result<Folded, PageError> {
    let Some(json) = SLOT.extract(page)? else { return Ok(Folded::default()) };
    let damaged = |reason: String| PageError::Damaged(format!("icicles: {reason}"));
    let packed: Packed =
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    let Packed { names, icicles, left_out } = packed;
    let icicles: Result<Vec<Icicle>, String> =
        icicles.into_iter().map(|icicle| unpacked(icicle, &names)).collect();
    Ok(Folded { icicles: icicles.map_err(damaged)?, left_out })
}

fn unpacked(packed: PackedIcicle, names: &[String]) -> Result<Icicle, String> {
    let PackedIcicle { server, load, samples, least_permille, folded, is_cut, areas } = packed;
    if areas.len() > AREAS_MAX {
        return Err(format!("{} areas, expected {AREAS_MAX} at most", areas.len()));
    }
    let mut read = Vec::new();
    // Samples that are left for areas on each row.
    let mut left = vec![samples];
    for PackedArea(row, layer, samples, name, folded) in areas {
        if row > ROWS_MAX || row >= left.len() {
            return Err(format!("an area on row {row} below row {}", left.len() - 1));
        }
        left.truncate(row + 1);
        let rest = left[row].checked_sub(samples).filter(|_| samples > 0);
        left[row] = rest.ok_or("an area that is wider than the one above it")?;
        left.push(samples);
        let content = if folded > 0 {
            Content::Folded(folded)
        } else {
            Content::Name(names.get(name).ok_or("a name that is missing")?.clone())
        };
        read.push(Area { row, layer, samples, content });
    }
    Ok(Icicle { server, load, samples, least_permille, folded, is_cut, areas: read })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(row: usize, samples: u64, name: &str) -> Area {
        Area { row, layer: Layer::Runtime, samples, content: Content::Name(name.to_owned()) }
    }

    fn folded(areas: Vec<Area>) -> Folded {
        let (server, load) = ("uring/raw/npy".to_owned(), "8 B".to_owned());
        let (folded, is_cut) = (3, true);
        let icicle =
            Icicle { server, load, samples: 10, least_permille: 10, folded, is_cut, areas };
        Folded { icicles: vec![icicle], left_out: 2 }
    }

    #[test]
    fn icicles_are_read_back_as_they_are() {
        let rest = Area { content: Content::Folded(4), ..area(1, 2, "") };
        let folded = folded(vec![area(0, 9, "a"), area(1, 7, "b"), rest, area(0, 1, "b")]);
        let page = format!("<p>{}", element(&folded));
        assert_eq!(extract(&page).expect("icicles"), folded);
        assert_eq!(extract("<p>").expect("none"), Folded::default());
        assert_eq!(element(&Folded::default()), "");
    }

    #[test]
    fn areas_that_no_profile_has_are_refused() {
        for (areas, reason) in [
            (vec![area(1, 1, "a")], "row 1 below row 0"),
            (vec![area(0, 5, "a"), area(2, 1, "a")], "row 2 below row 1"),
            (vec![area(0, 11, "a")], "wider than"),
            (vec![area(0, 6, "a"), area(0, 5, "a")], "wider than"),
            (vec![area(0, 6, "a"), area(1, 4, "b"), area(1, 3, "b")], "wider than"),
            (vec![area(0, 0, "a")], "wider than"),
            ((0..=ROWS_MAX + 1).map(|row| area(row, 1, "a")).collect(), "row 8"),
        ] {
            let error = extract(&element(&folded(areas))).expect_err(reason).to_string();
            assert!(error.contains("icicles") && error.contains(reason), "{error}");
        }
    }
}
