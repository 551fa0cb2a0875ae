//! The engine on real Kafka with a real registry.

#[cfg(test)]
mod agenda;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod halted;
#[cfg(test)]
mod links;
#[cfg(test)]
mod offsets;
#[cfg(test)]
mod once;
#[cfg(test)]
mod parting;
#[cfg(test)]
mod points;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod redrive;
#[cfg(test)]
mod saga;
#[cfg(test)]
mod schemas_unknown;
#[cfg(test)]
mod seek;
#[cfg(test)]
mod several;
#[cfg(test)]
mod shows;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod unsure_store;
#[cfg(test)]
mod upgrade;
