//! Selector of pictures by size and by codec, which works without a script: radio buttons, and
//! rules of the style that hide the pictures of other choices on a screen. All are shown at first,
//! and in print.

use super::super::markup::escape;

/// Choices that a selector may have; the style has a rule for each.
pub(super) const CHOICES_MAX: usize = 12;

/// Element with the class of a choice of each kind.
pub(super) struct Choosable {
    pub(super) size: String,
    pub(super) codec: String,
    pub(super) html: String,
}

/// Kind of choice, and first letter of its classes.
const KINDS: [(&str, char); 2] = [("Size", 's'), ("Codec", 'c')];

/// Returns the elements in a grid, below a selector for each kind that differs.
pub(super) fn selectable(elements: &[Choosable]) -> String {
    if elements.is_empty() {
        return String::new();
    }
    let sizes = unique(elements.iter().map(|element| element.size.as_str()));
    let codecs = unique(elements.iter().map(|element| element.codec.as_str()));
    let selectors: String = KINDS
        .into_iter()
        .zip([&sizes, &codecs])
        .map(|((name, letter), choices)| selector(name, letter, choices))
        .collect();
    let class = |letter: char, choices: &[&str], choice: &str| {
        let index = choices.iter().position(|other| *other == choice).unwrap_or_default();
        format!("{letter}{}", index + 1)
    };
    let element = |element: &Choosable| {
        let size = class('s', &sizes, &element.size);
        let codec = class('c', &codecs, &element.codec);
        format!("<div class=\"{size} {codec}\">\n{}</div>\n", element.html)
    };
    let grid: String = elements.iter().map(element).collect();
    format!("<div class=\"choose\">\n{selectors}<div class=\"grid\">\n{grid}</div></div>\n")
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn selector(name: &str, letter: char, choices: &[&str]) -> String {
    if choices.len() < 2 {
        return String::new();
    }
    let group = name.to_lowercase();
    let button = |class: &str, checked: &str, text: &str| {
        format!(
            "<label><input type=\"radio\" name=\"{group}\"{class}{checked}> {}</label>\n",
            escape(text)
        )
    };
    let buttons: String = (1..)
        .zip(choices)
        .map(|(number, choice)| button(&format!(" class=\"{letter}{number}\""), "", choice))
        .collect();
    format!(
        "<fieldset><legend>{name}</legend>\n{}{buttons}</fieldset>\n",
        button("", " checked", "all")
    )
}

/// Returns the rule that hides the elements of other choices.
pub(super) fn style() -> String {
    let selector = |(letter, number): (char, usize)| {
        format!(".choose:has(.{letter}{number}:checked) .grid>:not(.{letter}{number})")
    };
    let classes = KINDS
        .into_iter()
        .flat_map(|(_, letter)| (1..=CHOICES_MAX).map(move |number| (letter, number)));
    let selectors: Vec<String> = classes.map(selector).collect();
    format!("@media screen {{ {} {{ display: none }} }}\n", selectors.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(size: &str, codec: &str) -> Choosable {
        Choosable { size: size.into(), codec: codec.into(), html: format!("{size} of {codec}") }
    }

    #[test]
    fn only_what_differs_can_be_chosen() {
        let one = selectable(&[element("8 B", "npy")]);
        assert_eq!(one.matches("<input").count(), 0, "{one}");
        let sizes = selectable(&[element("8 B", "npy"), element("1 MiB", "npy")]);
        assert_eq!(sizes.matches("name=\"size\"").count(), 3, "all and two sizes: {sizes}");
        assert_eq!(sizes.matches("name=\"codec\"").count(), 0, "{sizes}");
        assert_eq!(selectable(&[]), "");
    }

    #[test]
    fn each_element_has_the_classes_of_its_choices() {
        let elements = [element("8 B", "npy"), element("8 B", "<b>"), element("1 MiB", "<b>")];
        let html = selectable(&elements);
        for part in [
            "class=\"s2\"> 1 MiB</label>",
            "class=\"c2\"> &lt;b&gt;</label>",
            "<div class=\"s1 c1\">\n8 B of npy",
            "<div class=\"s1 c2\">\n8 B of <b>",
            "<div class=\"s2 c2\">\n1 MiB of <b>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_eq!(html.matches(" checked").count(), 2, "all of both: {html}");
        for class in ["s1", "s12", "c1", "c12"] {
            let rule = format!(".choose:has(.{class}:checked) .grid>:not(.{class})");
            assert!(style().contains(&rule), "{class}");
        }
    }
}
