//! Style of the page and of its pictures.

use super::super::palette;
use super::selector;

const PICTURE: &str = include_str!("picture.css");
const PAGE: &str = include_str!("page.css");

/// Returns the style of the page.
pub(super) fn page() -> String {
    let [light, dark] = palette::variables();
    let layers = palette::layer_rules(&["fill", "background"]);
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{@media screen{{:root{{{dark}}}}}}}\n\
         {PAGE}{PICTURE}{layers}{}",
        selector::style()
    )
}

/// Returns the style of a picture that stands alone.
pub(super) fn picture() -> String {
    palette::style_of_picture(&(PICTURE.to_owned() + &palette::layer_rules(&["fill"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_colour_and_a_picture_alone_has_none() {
        let [light, dark] = palette::variables();
        for style in [PICTURE, PAGE] {
            for name in style.split("var(--").skip(1).filter_map(|rest| rest.split_once(')')) {
                let declared = format!("--{}:#", name.0);
                assert!(light.contains(&declared) && dark.contains(&declared), "{}", name.0);
            }
        }
        assert!(!picture().contains("var("), "{}", picture());
    }
}
