"""Recordings of event sensors: readers, cropping, stabilising, binning; simulated retina and cochlea. Arrays and bytes in, `Events` out."""
