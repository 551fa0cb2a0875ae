//! The slow path for data of other schema versions: written with one schema, wanted in the catalog's.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::catalog::RecordSchema;
use crate::datum::DecodeError;
use crate::plan::{Captures, Limits};
use crate::registry::RegisteredSchema;

/// The datum as the reader's schema has it, by Avro's resolution rules: new fields get their defaults, dropped ones go.
///
/// # Errors
/// The bytes are no datum of the writer's schema, or the two schemas do not fit.
pub fn to_reader(writer: &RegisteredSchema, reader: &RecordSchema, datum: &[u8]) -> Result<Vec<u8>, DecodeError> {
    // every length is checked before the general decoder allocates by it
    writer
        .plan
        .check(datum, &Limits::default(), &mut Captures::default())
        .map_err(|_| DecodeError::Invalid { what: "the bytes are not a datum of the schema that wrote them", at: 0 })?;
    let unfit = |_| DecodeError::Invalid { what: "the datum cannot be read with the current schema", at: 0 };
    let decoder = GenericDatumReader::builder(&writer.schema).reader_schema(&reader.schema).build().map_err(unfit)?;
    let value = decoder.read_value(&mut &datum[..]).map_err(unfit)?;
    let encoder = GenericDatumWriter::builder(&reader.schema).build().map_err(unfit)?;
    encoder.write_value_to_vec(value).map_err(unfit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Catalog;
    use crate::datum::Datum;
    use crate::flights::FlightDeparted;
    use crate::plan::Plan;

    #[test]
    fn an_older_writer_is_read_with_the_defaults_of_today() {
        let catalog = Catalog::embedded().unwrap();
        let kind = &catalog.stream("entities").unwrap().kinds[0];
        let older = r#"{"type":"record","name":"Student","namespace":"forebay.entities","fields":[
            {"name":"last_name","type":"string"},{"name":"first_name","type":"string"},{"name":"email","type":"string"}]}"#;
        let schema = apache_avro::Schema::parse_str(older).unwrap();
        let plan = Arc::new(Plan::compile(&schema).unwrap());
        let writer = RegisteredSchema { id: 1, full_name: plan.name().to_owned(), schema, plan };
        let datum = b"\x0aByron\x06Ada\x06a@b";
        assert_eq!(to_reader(&writer, &kind.schema, datum).unwrap(), b"\x06Ada\x0aByron\x06a@b\0\0");
        assert!(to_reader(&writer, &kind.schema, &datum[..7]).is_err());
        assert!(to_reader(&writer, &catalog.event("flight.departed").unwrap().1.schema, datum).is_err());
        assert_eq!(FlightDeparted::RECORD, "forebay.flights.FlightDeparted");
    }
}
