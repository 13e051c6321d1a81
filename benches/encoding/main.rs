//! What a row costs on its way between wire bytes and files: each codec, the formats, the sums. `cargo bench` runs them
//! all, `cargo bench -- NAME` some. A page has 5000 rows, or 64 of 16 KiB; items per second are rows, or cells of a codec.
//!
//! Times of different runs do not compare on a machine that does other work too; run what is compared one after the
//! other, and the best is more telling than the mean.

#![allow(clippy::expect_used)] // A benchmark that cannot begin has nobody to tell but whoever runs it.

mod data;

use data::{PAGE_ROWS, Shape, TYPES, cells, cql_type, texts};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Each codec, over the cells of one column of a page.
mod codecs {
    use super::*;
    use cqlift::rows::{Cell, PageBuilder};
    use cqlift::types::{Codec, codec};

    fn of(cql: &str) -> Box<dyn Codec> {
        codec(&cql_type(cql)).expect("a codec")
    }

    #[divan::bench(args = TYPES)]
    fn to_text(bencher: Bencher<'_, '_>, cql: &str) {
        let (codec, cells, mut out) = (of(cql), cells(cql), Vec::new());
        bencher.counter(ItemsCount::new(cells.len())).bench_local(|| {
            out.clear();
            for cell in &cells {
                black_box(codec.to_text(cell, &mut out));
            }
        });
    }

    #[divan::bench(args = TYPES)]
    fn from_text(bencher: Bencher<'_, '_>, cql: &str) {
        let (codec, texts, mut out) = (of(cql), texts(cql), Vec::new());
        bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
            out.clear();
            for text in &texts {
                codec.from_text(text.as_bytes(), &mut out).expect("a value");
            }
        });
    }

    #[divan::bench(args = TYPES)]
    fn to_arrow(bencher: Bencher<'_, '_>, cql: &str) {
        let (codec, cells) = (of(cql), cells(cql));
        let cells: Vec<Cell<'_>> = cells.iter().map(|cell| Some(cell.as_slice())).collect();
        let mut lossy = vec![false; cells.len()];
        bencher
            .counter(ItemsCount::new(cells.len()))
            .bench_local(|| black_box(codec.to_arrow(&cells, &mut lossy)));
    }

    #[divan::bench(args = TYPES)]
    fn from_arrow(bencher: Bencher<'_, '_>, cql: &str) {
        let (codec, cells) = (of(cql), cells(cql));
        let cells: Vec<Cell<'_>> = cells.iter().map(|cell| Some(cell.as_slice())).collect();
        let array = codec.to_arrow(&cells, &mut vec![false; cells.len()]);
        bencher.counter(ItemsCount::new(cells.len())).bench_local(|| {
            let cells = codec.arrow_cells(&array).expect("the codec's own array");
            let mut page = PageBuilder::new(1);
            for row in 0..PAGE_ROWS {
                page.push_with::<Box<dyn std::error::Error>>(|out| Ok(cells.append(row, out)?))
                    .expect("a cell");
            }
            page.finish()
        });
    }
}

/// Pages to files and back.
mod formats {
    use super::*;
    use cqlift::format::csv::{CsvOptions, CsvReader};
    use cqlift::format::{ExportFormat, Format, Sink, SinkOptions, Source};
    use cqlift::rows::Page;
    use std::fs::File;
    use std::io::{Cursor, Seek, SeekFrom};

    const SHAPES: &[Shape] =
        &[Shape::Iot, Shape::IotTimes, Shape::Users, Shape::UsersTimes, Shape::Wide, Shape::Blobs];

    /// Pages of a file: several row groups would need a hundred, which measures the same.
    const PAGES: usize = 10;

    fn write<W: std::io::Write>(mut sink: Box<dyn Sink<W>>, pages: &[Page]) -> W {
        for page in pages {
            sink.write(page).expect("room");
        }
        sink.finish().expect("room")
    }

    fn rows(pages: &[Page]) -> ItemsCount {
        ItemsCount::new(pages.iter().map(Page::rows).sum::<usize>())
    }

    fn sink(bencher: Bencher<'_, '_>, format: Format, shape: Shape) {
        let (layout, pages) = (shape.layout(), shape.pages(PAGES));
        bencher.counter(rows(&pages)).bench_local(|| {
            let sink = format.sink(&layout, SinkOptions::default(), std::io::sink()).expect("room");
            write(sink, &pages)
        });
    }

    #[divan::bench(args = SHAPES)]
    fn csv_sink(bencher: Bencher<'_, '_>, shape: Shape) {
        sink(bencher, Format::Csv, shape);
    }

    #[divan::bench(args = SHAPES)]
    fn parquet_sink(bencher: Bencher<'_, '_>, shape: Shape) {
        sink(bencher, Format::Parquet, shape);
    }

    #[divan::bench(args = SHAPES)]
    fn jsonl_sink(bencher: Bencher<'_, '_>, shape: Shape) {
        let (columns, pages) = (shape.layout().columns, shape.pages(PAGES));
        bencher.counter(rows(&pages)).bench_local(|| {
            let options = SinkOptions::default();
            write(ExportFormat::Jsonl.sink(&columns, options, std::io::sink()).expect("room"), &pages)
        });
    }

    fn source(bencher: Bencher<'_, '_>, format: Format, shape: Shape) {
        let (layout, pages) = (shape.layout(), shape.pages(PAGES));
        let file = tempfile::tempfile().expect("a file");
        let mut file = write(format.sink(&layout, SinkOptions::default(), file).expect("room"), &pages);
        bencher.counter(rows(&pages)).bench_local(|| {
            file.seek(SeekFrom::Start(0)).expect("a file");
            let file: File = file.try_clone().expect("a file");
            read_all(&mut *format.source(&layout, file).expect("the file just written"))
        });
    }

    fn read_all(source: &mut dyn Source) -> usize {
        let mut rows = 0;
        while let Some(page) = source.next_page().expect("the file just written") {
            rows += black_box(page).rows();
        }
        rows
    }

    #[divan::bench(args = SHAPES)]
    fn csv_source(bencher: Bencher<'_, '_>, shape: Shape) {
        source(bencher, Format::Csv, shape);
    }

    #[divan::bench(args = SHAPES)]
    fn parquet_source(bencher: Bencher<'_, '_>, shape: Shape) {
        source(bencher, Format::Parquet, shape);
    }

    /// All fields found, those of one narrow column read.
    #[divan::bench(args = [Shape::Iot, Shape::Users, Shape::Wide])]
    fn csv_splitter(bencher: Bencher<'_, '_>, shape: Shape) {
        let (columns, pages) = (shape.layout().columns, shape.pages(PAGES));
        let options = SinkOptions::default();
        let text = write(ExportFormat::Csv.sink(&columns, options, Vec::new()).expect("room"), &pages);
        bencher.counter(rows(&pages)).with_inputs(|| text.clone()).bench_local_values(|text| {
            let reader = CsvReader::open(Cursor::new(text), &CsvOptions::default()).expect("a header");
            let mut source = reader.into_source(vec![(2, columns[2].clone())], None).expect("a column");
            read_all(&mut source)
        });
    }
}

/// What every page costs, whatever its format.
mod pages {
    use super::*;
    use cqlift::fingerprint::Fingerprint;
    use cqlift::rows::{Page, put_cell};

    #[divan::bench(args = [Shape::Iot, Shape::IotTimes, Shape::Users, Shape::UsersTimes, Shape::Wide, Shape::Blobs])]
    fn fingerprint(bencher: Bencher<'_, '_>, shape: Shape) {
        let (table, page) = (shape.table(), shape.pages(1).remove(0));
        let mut fingerprint = Fingerprint::new(&table, None);
        bencher
            .counter(ItemsCount::new(page.rows()))
            .bench_local(|| fingerprint.add(black_box(&page)).expect("companions that fit"));
    }

    #[divan::bench(args = [Shape::Iot, Shape::IotTimes, Shape::Users, Shape::Wide, Shape::Blobs])]
    fn from_wire(bencher: Bencher<'_, '_>, shape: Shape) {
        let (mut wire, page) = (Vec::new(), shape.pages(1).remove(0));
        for row in 0..page.rows() {
            assert!(page.row(row).all(|cell| put_cell(cell, &mut wire)));
        }
        let (wire, width) = (bytes::Bytes::from(wire), page.width());
        bencher
            .counter(ItemsCount::new(page.rows()))
            .bench_local(|| Page::from_wire(wire.clone(), page.rows(), width).expect("the page's own bytes"));
    }
}
